'use strict';
// Does STATE hold all that matters? Sets up a battle anew from the state of every decision of a record and
// plays that decision's choices and draws in it: the next state and requests must be those of the record.
//
//   node restore.js NODE_MODULES < JOBS > ANSWERS        both JSON lines; a JOB as for record.js
//
// With `forget`, a field of STATE by name, that field is left as it is at the start of a battle: how the test
// fails. ANSWER = {seed, decisions, difference}: null, or "decision 12: .sides[0].on.boosts[1]: 0, 1"
const jsonLines = require('./lines.js');
const {load, JudgeError} = require('./draws.js');
const {play, FORMAT} = require('./record.js');
const {Reader, STATS, BOOSTS, VOLATILES} = require('./state.js');
const {firstDifference} = require('./redraw.js');

function pairs(names, values) {
  const all = Object.fromEntries(names.map((name, i) => [name, values[i]]));
  return {...all, spd: all.spa};
}

function restore({Battle, Prng}, teams, state) {
  const prng = new Prng('gen5,0000000000000000');
  const battle = new Battle({formatid: FORMAT, prng});
  teams.forEach((team, n) => battle.setPlayer(`p${n + 1}`, {name: `p${n + 1}`, team}));
  const reader = new Reader(battle);
  const all = reader.teams;
  const {dex} = battle;
  const moveOf = id => (id ? dex.getActiveMove(id) : null);
  battle.clearRequest();
  battle.sides.forEach((side, n) => {
    const {pokemon, active, left, on, faintedThisTurn, fallenSpeed, ...moves} = state.sides[n];
    all[n].forEach((one, i) => {
      const {hp, status, sleep, fainted, subFainted, moves: slots} = pokemon[i];
      Object.assign(one, {hp, status, fainted, subFainted, isActive: false, faintQueued: fainted});
      one.statusState = battle.initEffectState({id: status, target: one});
      if (sleep) {
        const source = sleep.own ? one : all[1 - n][0];
        Object.assign(one.statusState, {time: sleep.time, startTime: sleep.start, source});
      }
      slots.forEach(([id, pp], k) => one.baseMoveSlots[k].pp = pp);
      one.clearVolatile();
      if (fainted) one.status = i === active ? 'fnt' : '';
    });
    const first = all[n][active];
    side.pokemon = [first, ...all[n].filter(one => one !== first)];
    side.pokemon.forEach((one, position) => one.position = position);
    side.active[0] = first;
    side.pokemonLeft = left;
    Object.assign(side, {
      lastSelectedMove: moves.lastSelectedMove, lastSelectedMoveSlot: moves.lastSelectedMoveSlot,
      lastEnemySelectedMove: moves.lastEnemySelectedMove, lastMove: moveOf(moves.lastMove),
      lastEnemyMove: moveOf(moves.lastEnemyMove), faintedThisTurn: all[n][faintedThisTurn] ?? null,
    });
    first.isActive = !!on;
    if (on) act(battle, first, on, all);
    else Object.assign(first, {switchFlag: true, modifiedStats: {...first.modifiedStats, spe: fallenSpeed}});
  });
  const {turn, lastDamage, request} = state;
  Object.assign(battle, {turn, lastDamage, midTurn: request === 'switch'});
  battle.makeRequest(request);
  prng.take();
  return {battle, reader, prng};
}

function act(battle, one, on, all) {
  const {dex} = battle;
  one.species = dex.species.get(on.species);
  one.types = on.types.map(id => dex.types.get(id).name);
  one.storedStats = pairs(STATS, on.stored);
  one.modifiedStats = pairs(STATS, on.modified);
  one.boosts = pairs(BOOSTS, on.boosts);
  one.moveSlots = on.moves.map(([id, pp, virtual], i) => {
    if (!virtual) return one.baseMoveSlots[i];
    const move = dex.moves.get(id);
    const maxpp = battle.calculatePP(move, one.ppUps[i] || 0);
    return {move: move.name, id, pp, maxpp, target: move.target, disabled: false, used: false, virtual: true};
  });
  on.disabled.forEach((disabled, i) => one.moveSlots[i].disabled = disabled);
  const {maybeLocked, trapped, transformed} = on;
  Object.assign(one, {maybeLocked, trapped, transformed});
  one.lastMove = on.lastMove ? dex.getActiveMove(on.lastMove) : null;
  for (const [id, held] of Object.entries(on.volatiles)) {
    const fields = VOLATILES[id].filter(field => held[field] !== null).map(field => {
      const value = held[field];
      return [field, Array.isArray(value) ? all[value[0]][value[1]] : value];
    });
    const name = dex.conditions.get(id).name;
    one.volatiles[id] = battle.initEffectState({id, name, target: one, ...Object.fromEntries(fields)});
    if (id === 'leechseed') one.volatiles[id].sourceSlot = one.side.foe.active[0].getSlot();
  }
}

function answer(sim, job) {
  const record = play(sim, job);
  const {teams, decisions, seed} = record;
  let difference = null;
  for (const [i, {state, requests, choices, draws}] of decisions.entries()) {
    const next = decisions[i + 1];
    if (!next && !record.state) break; // the simulator threw
    const known = job.forget ? {...state, [job.forget]: decisions[0].state[job.forget]} : state;
    const {battle, reader, prng} = restore(sim, teams, known);
    difference = firstDifference(known, reader.state());
    prng.tape = draws.slice();
    try {
      choices.forEach((action, n) => {
        if (action !== null) battle.choose(`p${n + 1}`, reader.choice(n, requests[n], action));
      });
    } catch (error) {
      if (!(error instanceof JudgeError)) throw error;
      difference ||= error.message;
    }
    if (prng.tape.length) difference ||= `${prng.tape.length} draws are left over`;
    difference ||= firstDifference(next ? next.state : record.state, reader.state());
    if (next) difference ||= firstDifference(next.requests, [0, 1].map(n => reader.request(n)));
    battle.destroy();
    if (difference) {
      difference = `decision ${i}: ${difference}`;
      break;
    }
  }
  return {seed, decisions: decisions.length, difference};
}

function main([modules]) {
  const sim = load(modules);
  for (const job of jsonLines.questions()) jsonLines.answer(answer(sim, job));
}

main(process.argv.slice(2));
