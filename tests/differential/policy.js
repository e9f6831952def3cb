'use strict';
// What plays a recorded battle: random legal actions, from a seed of its own.

// A small generator (xorshift128+'s little sister mulberry32); its stream is no matter of the battle's draws.
function generator(text) {
  let state = 0x9e3779b9;
  for (const char of text) state = Math.imul(state ^ char.charCodeAt(0), 0x85ebca6b) + 0x6d2b79f5 | 0;
  return () => {
    state = state + 0x6d2b79f5 | 0;
    let t = Math.imul(state ^ state >>> 15, 1 | state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
}

class Policy {
  constructor(seed, name, weights = {}) {
    this.next = generator(`policy ${seed}`);
    if (name !== 'random' && name !== 'rare') throw new Error(`unknown policy ${name}`);
    this.rare = name === 'rare';
    this.weights = weights;
  }

  // An action, or null where the side waits.
  choose(request) {
    const {legal} = request;
    if (request.kind === 'wait') return null;
    const weights = legal.map((is, action) => is && this.weight(request, action));
    let left = this.next() * weights.reduce((a, b) => a + b, 0);
    for (const [action, weight] of weights.entries()) {
      if (weight && (left -= weight) < 0) return action;
    }
    return legal.lastIndexOf(1);
  }

  weight({moves, kind}, action) {
    if (kind === 'switch') return 1;
    const given = this.weights[action < 4 ? moves[action] : 'switch'];
    if (given !== undefined) return given;
    if (!this.rare) return 1;
    if (action >= 4) return 0.15; // stay, so that effects meet
    return RARE.has(moves[action]) ? 4 : 1;
  }
}

// Moves whose effects reach rows of the checklist that plain attacks do not.
const RARE = new Set([
  'bide', 'bind', 'clamp', 'confuseray', 'conversion', 'counter', 'disable', 'firespin', 'focusenergy',
  'haze', 'highjumpkick', 'hyperbeam', 'jumpkick', 'leechseed', 'lightscreen', 'metronome', 'mimic',
  'mirrormove', 'mist', 'petaldance', 'psywave', 'rage', 'recover', 'reflect', 'rest', 'sing', 'softboiled',
  'substitute', 'supersonic', 'thrash', 'toxic', 'transform', 'wrap',
]);

module.exports = {Policy, generator, RARE};
