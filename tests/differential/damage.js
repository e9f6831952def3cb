'use strict';
// Damage by Showdown's own getDamage, for given attacker, defender, move and draws. Run through
// damage_oracle.py.
//
//   node damage.js NODE_MODULES WORDS < CASES > ANSWERS
//
// WORDS: a JSON object {species, moves, types}: the words that ids stand for. CASES: int32, little-endian,
// WIDTH numbers a case in the order of damage_oracle.CASE. ANSWERS: int32, 4 numbers a case: damage,
// substitute, crit, draws.
const fs = require('fs');
const {load} = require('./draws.js');

const WIDTH = 23;
const IMMUNE = -1; // getDamage said false
const NONE = -2; // it said undefined: no move that does damage

function main([modules, words]) {
  const {Battle, PRNG} = load(modules);
  const {species, moves, types} = JSON.parse(words);

  class Given extends PRNG {
    random(from, to) {
      this.draws++;
      return from === 256 && to === undefined ? this.crit : this.roll;
    }
  }
  const prng = new Given('gen5,0000000000000000');
  const battle = new Battle({formatid: 'gen1ou', prng});
  const team = [{species: 'Chansey', ability: 'No Ability', moves: ['pound'], evs: {}, ivs: {}}];
  for (const side of ['p1', 'p2']) battle.setPlayer(side, {name: side, team});
  const [source, target] = battle.sides.map(side => side.active[0]);
  const names = types.map(id => battle.dex.types.get(id).name);
  const typesOf = (one, other) => [one, other].filter(Boolean).map(id => names[id]);
  const stats = (one, [atk, def, spc], [atk0, def0, spc0]) => {
    one.modifiedStats = {...one.modifiedStats, atk, def, spa: spc, spd: spc};
    one.baseStoredStats = {...one.baseStoredStats, atk: atk0, def: def0, spa: spc0, spd: spc0};
  };
  battle.reset = () => {
    battle.log.length = battle.sentLogPos = 0;
    battle.lastMoveLine = -1;
  };

  function damage(given) {
    const [move, kind, level, type1, type2, ...rest] = given;
    const [atk, spc, atk0, spc0, def, foeSpc, def0, foeSpc0, foeType1, foeType2, ...more] = rest;
    const [reflect, lightScreen, focusEnergy, mist, hp, substitute, crit, roll] = more;
    source.set.species = species[kind];
    source.level = level;
    source.types = typesOf(type1, type2);
    target.types = typesOf(foeType1, foeType2);
    stats(source, [atk, 1, spc], [atk0, 1, spc0]);
    stats(target, [1, def, foeSpc], [1, def0, foeSpc0]);
    source.hp = source.maxhp;
    target.hp = hp;
    target.volatiles = {};
    source.volatiles = {};
    const put = (one, id) => {
      one.volatiles[id] = battle.initEffectState({id, name: id, target: one});
      return one.volatiles[id];
    };
    if (reflect) put(target, 'reflect');
    if (lightScreen) put(target, 'lightscreen');
    if (mist) put(target, 'mist');
    if (focusEnergy) put(source, 'focusenergy');
    Object.assign(prng, {crit, roll, draws: 0});
    battle.lastDamage = 0;
    const active = battle.dex.getActiveMove(moves[move]);
    battle.setActiveMove(active, source, target);
    const struck = () => +!!(active.moveHitData && Object.values(active.moveHitData).some(hit => hit.crit));
    battle.reset();
    if (!substitute) {
      const done = battle.actions.getDamage(source, target, active);
      const number = done === false ? IMMUNE : done === undefined ? NONE : done;
      if (!Number.isInteger(number)) throw new Error(`${active.id} does ${number}`);
      return [number, 0, struck(), prng.draws];
    }
    const held = put(target, 'substitute');
    held.hp = substitute;
    const result = battle.runEvent('TryHit', target, source, active);
    target.subFainted = null;
    const left = target.volatiles.substitute ? held.hp : 0;
    return [result === 0 ? battle.lastDamage : IMMUNE, left, struck(), prng.draws];
  }

  const input = fs.readFileSync(0);
  const given = new Int32Array(input.buffer, input.byteOffset, input.length / 4);
  const count = given.length / WIDTH;
  const answers = new Int32Array(4 * count);
  for (let i = 0; i < count; i++) answers.set(damage(given.subarray(i * WIDTH, (i + 1) * WIDTH)), 4 * i);
  const output = Buffer.from(answers.buffer);
  for (let at = 0; at < output.length;) at += fs.writeSync(1, output, at);
}

main(process.argv.slice(2));
