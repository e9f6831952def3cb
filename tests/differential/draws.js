'use strict';
// Draws of a Showdown battle, tagged with their site (jaxnash/games/gen1/sites.py says what each is).
//
// A draw's site is found from the call stack: the innermost frame outside the PRNG and Battle's forwarding
// methods is looked up by its file and the text of its line, which must be one of LINES. Ties have one line
// for all events, so `runEvent`, `eachEvent`, `fieldEvent` and the queue's `sort` are patched to tell which
// of them sorts. A call that is found nowhere throws.
const fs = require('fs');
const path = require('path');

const LINES = { // file under dist/ -> text of the line that draws -> site
  'data/mods/gen1/conditions.js': {
    'if (this.randomChance(63, 256)) {': 'paralysis',
    'this.effectState.startTime = this.random(1, 8);': 'sleep_turns',
    'this.effectState.time = this.random(2, 6);': 'confusion_turns',
    'if (!this.randomChance(128, 256)) {': 'confusion',
    'return this.sample([2, 2, 2, 3, 3, 3, 4, 5]);': 'trap_turns',
    'this.effectState.time = this.random(2, 4);': 'thrash_turns',
  },
  'data/mods/gen1/moves.js': {
    'this.effectState.time = this.random(2, 4);': 'bide_turns',
    ['const [slotIndex, moveSlot] = this.sample(Array.from(pokemon.moveSlots.entries())' +
      '.filter(([i, ms]) => ms.pp > 0));']: 'disable_move',
    'this.effectState.time = this.random(1, 9);': 'disable_turns',
    'randomMove = this.sample(moves).id;': 'metronome',
    'const moveid = this.sample(moves);': 'mimic',
    'const psywaveDamage = this.random(1, this.trunc(1.5 * pokemon.level));': 'psywave',
    ['if (secondary.chance === void 0 || ' +
      'this.randomChance(Math.ceil(secondary.chance * 256 / 100) - 1, 256)) {']: 'substitute_confusion',
  },
  'data/mods/gen1/scripts.js': {
    'if (accuracy !== true && !this.battle.randomChance(accuracy, 256)) {': 'accuracy',
    'hits = this.battle.sample([2, 2, 2, 3, 3, 3, 4, 5]);': 'multi_hit',
    'if (this.battle.randomChance(secondaryChance, 256)) {': 'secondary',
    'isCrit = this.battle.randomChance(critChance, 256);': 'crit',
    'damage *= this.battle.random(217, 256);': 'roll',
  },
  'sim/battle-queue.js': {
    'const index = firstIndex === lastIndex ? firstIndex : this.battle.random(firstIndex, lastIndex + 1);':
      'insert',
  },
};
const TIE = 'this.prng.shuffle(list, sorted, sorted + nextIndexes.length);';
const TIES = { // who sorts -> site
  'queue': 'order', 'each:Update': 'update', 'each:BeforeTurn': 'beforeturn', 'run:SetStatus': 'setstatus',
  'field:Residual': 'residual', 'run:DisableMove': 'disablemove',
};
const DROPPED = ['update', 'beforeturn', 'setstatus', 'residual', 'disablemove'];
const FORWARDING = ['random', 'randomChance', 'sample'];

// What must stop a run, in contrast to what the simulator throws by itself.
class JudgeError extends Error {
  get name() {
    return 'JudgeError';
  }
}

// `modules` is the node_modules folder with pokemon-showdown. Gives {Battle, Prng, require of its files}.
function load(modules) {
  const dist = path.join(modules, 'pokemon-showdown', 'dist');
  const {Battle} = require(path.join(dist, 'sim/battle.js'));
  const {BattleQueue} = require(path.join(dist, 'sim/battle-queue.js'));
  const {PRNG, Gen5RNG} = require(path.join(dist, 'sim/prng.js'));

  const sites = new Map(); // `file:line` -> site; null: look at who sorts
  const note = (file, text, site) => {
    const lines = fs.readFileSync(path.join(dist, file), 'utf8').split('\n');
    const at = lines.flatMap((line, i) => (line.trim() === text ? [i + 1] : []));
    if (at.length !== 1) {
      throw new Error(`${file} has ${at.length} lines "${text}", not 1: is this the pinned package?`);
    }
    sites.set(`${path.join(dist, file)}:${at[0]}`, site);
  };
  for (const [file, lines] of Object.entries(LINES)) {
    for (const [text, site] of Object.entries(lines)) note(file, text, site);
  }
  note('sim/battle.js', TIE, null);
  const battleFile = path.join(dist, 'sim/battle.js');
  const prngFile = path.join(dist, 'sim/prng.js');

  let sorter = '';
  const telling = (prototype, method, who) => {
    const original = prototype[method];
    prototype[method] = function (...args) {
      const outer = sorter;
      sorter = who(args[0]);
      try {
        return original.apply(this, args);
      } finally {
        sorter = outer;
      }
    };
  };
  telling(Battle.prototype, 'runEvent', event => `run:${event}`);
  telling(Battle.prototype, 'eachEvent', event => `each:${event}`);
  telling(Battle.prototype, 'fieldEvent', event => `field:${event}`);
  telling(BattleQueue.prototype, 'sort', () => 'queue');

  const callSites = (_, frames) => frames;
  function site() {
    const {prepareStackTrace, stackTraceLimit} = Error;
    Error.prepareStackTrace = callSites;
    Error.stackTraceLimit = 5; // random, randomChance or sample or shuffle, Battle's own, the caller
    const trace = {};
    Error.captureStackTrace(trace, site);
    const frames = trace.stack;
    Object.assign(Error, {prepareStackTrace, stackTraceLimit});
    for (const frame of frames) {
      const file = frame.getFileName();
      if (file === __filename || file === prngFile) continue;
      if (file === battleFile && FORWARDING.includes(frame.getFunctionName()?.split('.').pop())) continue;
      const found = sites.get(`${file}:${frame.getLineNumber()}`);
      if (found) return found;
      if (found === null && TIES[sorter]) return TIES[sorter];
      throw new JudgeError(`a draw at an unknown site: ${file}:${frame.getLineNumber()}, sorter "${sorter}"`);
    }
    throw new JudgeError('a draw without a caller');
  }

  // Every draw goes through `random`. Where it is set, `tape`, draws recorded before, answers instead of the
  // seed; `force` holds values for some sites: the seed's own draw says which of them it is, null being itself;
  // `redraw`, a generator of its own, answers at the sites `redrawn`.
  class Prng extends PRNG {
    constructor(seed, {redraw, redrawn = DROPPED, force = {}} = {}) {
      super(seed);
      Object.assign(this, {draws: [], redraw, redrawn, force});
    }
    random(from, to) {
      let value = super.random(from, to);
      const [lo, hi] = to === undefined ? [0, from] : [from, to];
      const name = site();
      if (this.tape) {
        const [theirs, low, high, told] = this.tape.shift() || [];
        if (theirs !== name || low !== lo || high !== hi) {
          throw new JudgeError(`a draw ${name} ${lo} ${hi} where the tape has ${theirs} ${low} ${high}`);
        }
        value = told;
      }
      const values = this.force[name];
      if (values) value = values[value % values.length] ?? value;
      if (value < lo || value >= hi) throw new JudgeError(`${name} forced to ${value}, not in ${lo} ${hi}`);
      if (this.redraw && this.redrawn.includes(name)) value = this.redraw.random(lo, hi);
      this.draws.push([name, lo, hi, value]);
      return value;
    }
    take() {
      const {draws} = this;
      this.draws = [];
      return draws;
    }
  }
  return {Battle, PRNG, Gen5RNG, Prng, dist};
}

module.exports = {load, DROPPED, JudgeError};
