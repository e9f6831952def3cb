'use strict';
// Teams drawn from a seed, over all species and moves that gen1ou knows. Kinds:
//   random     each side: sets of moves that the species may have learnt
//   mirror     the same for both sides, so that speeds tie
//   any        moves drawn without regard to who learns them, those of RARE (policy.js) twice as often
//   metronome  as random, but the first move is Metronome: moves that gen1ou bans are reached by it alone
const path = require('path');
const {generator, RARE} = require('./policy.js');

const BANNED_MOVES = [
  'dig', 'doubleteam', 'fissure', 'fly', 'guillotine', 'horndrill', 'minimize', 'struggle',
];
const BANNED_SPECIES = ['mew', 'mewtwo'];
let pool = null;

// [[species id, [move ids]], ...]: every move a species or what it evolves from may have learnt in Gen 1.
function learnable({dist}) {
  if (pool) return pool;
  const {Dex} = require(path.join(dist, 'sim/dex.js'));
  const dex = Dex.forFormat('gen1ou');
  const real = thing => thing.gen <= 1 && !thing.isNonstandard && thing.num > 0;
  pool = dex.species.all().filter(one => real(one) && !BANNED_SPECIES.includes(one.id)).map(one => {
    const moves = new Set();
    for (let at = one; at && at.exists && at.gen <= 1; at = at.prevo ? dex.species.get(at.prevo) : null) {
      for (const [move, sources] of Object.entries(dex.species.getLearnsetData(at.id).learnset || {})) {
        if (sources.some(source => source[0] === '1') && real(dex.moves.get(move))) moves.add(move);
      }
    }
    for (const move of BANNED_MOVES) moves.delete(move);
    return [one.id, [...moves].sort()];
  }).sort((a, b) => (a[0] < b[0] ? -1 : 1));
  return pool;
}

const KINDS = ['random', 'mirror', 'any', 'metronome'];

function teamsOf(sim, kind, seed) {
  if (!KINDS.includes(kind)) throw new Error(`unknown kind of teams ${kind}: use ${KINDS.join(', ')}`);
  const next = generator(`teams ${seed}`);
  let species = learnable(sim);
  let first = [];
  if (kind === 'any') {
    const known = [...new Set(species.flatMap(([, moves]) => moves))].sort();
    const all = [...known, ...known.filter(move => RARE.has(move))];
    species = species.map(([id]) => [id, all]);
  }
  if (kind === 'metronome') first = ['metronome'];
  const one = team(species, next, first);
  return [one, kind === 'mirror' ? one : team(species, next, first)];
}

// Six Pokemon mostly; mostly of level 100 with everything maximal, as gen1ou is played; else anything
// allowed.
function team(species, next, first) {
  const below = n => Math.floor(next() * n);
  const size = next() < 0.8 ? 6 : 1 + below(6);
  const drawn = new Set();
  while (drawn.size < size) drawn.add(below(species.length));
  return [...drawn].map(i => {
    const [id, moves] = species[i];
    const some = first.slice();
    let left = moves.filter(move => !some.includes(move));
    const count = next() < 0.9 ? 4 : 1 + below(4);
    while (some.length < count && left.length) {
      const move = left[below(left.length)];
      some.push(move);
      left = left.filter(other => other !== move);
    }
    const level = next() < 0.7 ? 100 : 1 + below(100);
    let evs = [252, 252, 252, 252, 252, 252];
    let dvs = [15, 15, 15, 15];
    if (next() < 0.2) {
      const [hp, atk, def, spc, spe] = [0, 0, 0, 0, 0].map(() => below(64) * 4);
      evs = [hp, atk, def, spc, spc, spe];
      dvs = dvs.map(() => below(16));
    }
    const [atk, def, spc, spe] = dvs;
    const hp = (atk & 1) << 3 | (def & 1) << 2 | (spe & 1) << 1 | (spc & 1);
    const ivs = [hp, atk, def, spc, spc, spe].map(dv => 2 * dv);
    const full = ivs.every(iv => iv === 30);
    // name|species|item|ability|moves|nature|evs|gender|ivs|shiny|level|happiness
    return [id, '', '', 'noability', some.join(','), '', evs.join(','), 'N', full ? '' : ivs.join(','), '',
      level === 100 ? '' : level, ''].join('|');
  }).join(']');
}

module.exports = {teamsOf, learnable};
