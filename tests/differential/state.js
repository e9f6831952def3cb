'use strict';
// STATE and REQUEST: what a decision of a record holds. Only numbers, strings, booleans, null.
//
// A Pokemon is named by its *index*: its place in the team at the start of the battle, whatever its slot is
// now.
//
// STATE = {
//   turn        battle.turn
//   request     "move", "switch", or "" when the battle has ended
//   lastDamage  battle.lastDamage
//   winner      null while it runs or when tied; 0 or 1
//   ended       boolean
//   sides       [SIDE, SIDE]
// }
// SIDE = {
//   pokemon                 [POKEMON, ...] in order of index
//   active                  index of the one in the active slot, fainted or not
//   left                    pokemonLeft
//   lastSelectedMove        move id, "" at first
//   lastSelectedMoveSlot    0-3
//   lastEnemySelectedMove   move id, "" at first
//   lastMove                side.lastMove: move id or "" (what Counter's user sees on its own screen)
//   lastEnemyMove           side.lastEnemyMove: move id or "" (what Counter reads)
//   faintedThisTurn         index or null; cleared at the end of a turn (a replacement takes no burn or
//                           poison)
//   fallenSpeed             speed of a fainted active, which orders two replacements: after its paralysis, and as
//                           its species has it, without boosts or Transform; null while it stands
//   on                      ACTIVE, or null while the active has fainted
// }
// POKEMON = {
//   species    id of the species in the team
//   level, hp, maxhp
//   stats      [atk, def, spc, spe] baseStoredStats
//   status     "", "brn", "frz", "par", "psn", "slp", "tox"; "" once fainted
//   sleep      null unless asleep: {time, start, own}: turns left, turns at first (2 by Rest, or by draw),
//              own: put to sleep by its own side (Rest), which Sleep Clause does not count
//   moves      [[id, pp], ...] baseMoveSlots, in the team's order
//   fainted    boolean
//   subFainted its substitute broke, and no move has been aimed at it since; kept on the bench; false once fainted
// }
// ACTIVE = {
//   species    id as it is now (Transform)
//   types      [type ids] as they are now
//   stored     [atk, def, spc, spe] storedStats (Transform copies them)
//   modified   [atk, def, spc, spe] modifiedStats
//   boosts     [atk, def, spc, spe, acc, eva]; spa and spd are checked to be equal
//   moves      [[id, pp, virtual], ...] moveSlots in order; virtual: by Mimic or Transform
//   disabled   [booleans] per slot, as the latest end of a turn left them; all false in a "switch" request
//   maybeLocked, trapped   as the request was made (false in a "switch" request)
//   transformed boolean
//   lastMove   pokemon.lastMove: id or "" (what Mirror Move copies)
//   volatiles  {id: {field: value}}, fields by VOLATILES; a partner is [side, index]
// }
//
// Left out, because nothing reads it after a decision in this generation, or because it follows from the
// rest:
//   the queue, faintQueue, activeMove, switchFlag, forceSwitchFlag, event state
//                       checked at every decision to be empty, or to be what `request` says
//   slot order          switches name Pokemon by species; no rule reads a bench's order
//   modified stats on the bench    base stats with the drop of the present status, made when it was withdrawn
//   maxpp               follows from the move id
//   moveThisTurn        cleared at the end of a turn; no action follows a replacement in its turn
//   pokemon.speed       computed again from modified stats when choices are committed
//   source of a status, of a confusion, a disable, ...   only Sleep Clause reads one (sleep.own)
//   sourceEffect        read for messages only
//   attackedBy, hurtThisTurn, lastDamage of a Pokemon, newlySwitched, activeTurns, timesAttacked, used,
//   lastSuccessfulMoveThisTurn, battle.lastMove, faintedLastTurn, totalFainted   not read in Gen 1
//   hints               messages only
//
// REQUEST, what one side is asked = {
//   kind      "move", "switch" (forced) or "wait"
//   legal     [9 x 0 or 1], the bridge's mask (jaxnash/showdown/request.py): waiting is one-hot on action 0
//   moves     ids offered, in the order of actions 0-3 (alphabetical; equal ids by slot); [] if none
//   pp        PP of the same as shown, null where none is shown
//   single    the one move offered is not chosen: Fight, Recharge, Struggle, or a locked move
//   slots     positions of actions 0-3 in Showdown's list of moves, from 0
//   switches  indices of Pokemon of actions 4-8 (fainted ones included), [] if waiting
//   maybeLocked, trapped   as sent, false where absent
// }

const {JudgeError} = require('./draws.js');

const STATS = ['atk', 'def', 'spa', 'spe'];
const BOOSTS = ['atk', 'def', 'spa', 'spe', 'accuracy', 'evasion'];
const VOLATILES = { // the fields kept of each; any other volatile is an error
  bide: ['damage', 'time'],
  confusion: ['time'],
  disable: ['move', 'slotIndex', 'time', 'duration'],
  fakepartiallytrapped: ['duration', 'counterpart'],
  flinch: ['duration'],
  focusenergy: [],
  invulnerability: [],
  leechseed: [],
  lightscreen: [],
  lockedmove: ['move', 'time', 'accuracy'],
  mist: [],
  mustrecharge: [],
  partiallytrapped: ['duration', 'source', 'maybeLocked'],
  partialtrappinglock: ['duration', 'totalDuration', 'move', 'damage', 'locked'],
  rage: ['move', 'accuracy'],
  reflect: [],
  residualdmg: ['counter'],
  substitute: ['hp'],
  twoturnmove: ['move'],
};
const IGNORED = ['defensecurl', 'minimize']; // no handlers in Gen 1: Rollout and Stomp read them later
const UNREAD = ['id', 'name', 'target', 'effectOrder', 'source', 'sourceSlot', 'sourceEffect', 'duration'];

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

class Reader {
  constructor(battle) {
    this.battle = battle;
    this.teams = battle.sides.map(side => side.pokemon.slice()); // order at the start
    this.places = new Map(this.teams.flatMap((team, n) => team.map((one, i) => [one, [n, i]])));
  }

  index(pokemon) {
    return this.places.get(pokemon)[1];
  }

  state() {
    const {battle} = this;
    this.check();
    const winner = battle.ended && battle.winner ? +(battle.winner === battle.sides[1].name) : null;
    return {
      turn: battle.turn, request: battle.requestState, lastDamage: battle.lastDamage,
      winner, ended: battle.ended,
      sides: battle.sides.map((side, n) => this.side(side, n)),
    };
  }

  check() {
    const {battle} = this;
    for (const one of this.places.keys()) {
      if (one.ability !== 'noability' || one.item) {
        throw new JudgeError(`${one.name} has ${one.ability} ${one.item}`);
      }
    }
    if (battle.ended) return;
    if (battle.queue.list.length) throw new JudgeError(`the queue holds ${battle.queue.debug()}`);
    if (battle.faintQueue.length) throw new JudgeError('somebody is about to faint at a decision');
    for (const side of battle.sides) {
      const [active] = side.active;
      const must = battle.requestState === 'switch' && active.fainted;
      if (!!active.switchFlag !== must) throw new JudgeError('a switch flag that the request does not tell');
      if (active.forceSwitchFlag) throw new JudgeError('somebody is to be dragged out');
      for (const one of side.pokemon) {
        if (one.hp !== Math.floor(one.hp)) throw new JudgeError(`hp ${one.hp}`);
        if (one.fainted !== (one.hp === 0)) throw new JudgeError('no hp, but not fainted');
      }
    }
  }

  side(side, n) {
    const [active] = side.active;
    return {
      pokemon: this.teams[n].map(one => this.pokemon(one)),
      active: this.index(active),
      left: side.pokemonLeft,
      lastSelectedMove: side.lastSelectedMove,
      lastSelectedMoveSlot: side.lastSelectedMoveSlot,
      lastEnemySelectedMove: side.lastEnemySelectedMove,
      lastMove: side.lastMove ? side.lastMove.id : '',
      lastEnemyMove: side.lastEnemyMove ? side.lastEnemyMove.id : '',
      faintedThisTurn: side.faintedThisTurn ? this.index(side.faintedThisTurn) : null,
      fallenSpeed: active.fainted ? active.modifiedStats.spe : null,
      on: active.fainted ? null : this.active(active),
    };
  }

  pokemon(one) {
    const {status, statusState} = one;
    return {
      species: one.baseSpecies.id, level: one.level, hp: one.hp, maxhp: one.maxhp,
      stats: STATS.map(stat => one.baseStoredStats[stat]),
      status: one.fainted ? '' : status,
      sleep: status !== 'slp' || one.fainted ? null : {
        time: statusState.time, start: statusState.startTime,
        own: !!statusState.source && statusState.source.isAlly(one),
      },
      moves: one.baseMoveSlots.map(slot => [slot.id, slot.pp]),
      fainted: one.fainted, subFainted: !one.fainted && !!one.subFainted,
    };
  }

  active(one) {
    const {boosts, modifiedStats, storedStats} = one;
    for (const stats of [boosts, modifiedStats, storedStats]) {
      if (stats.spa !== stats.spd) throw new JudgeError(`two Specials: ${JSON.stringify(stats)}`);
    }
    const chooses = this.battle.requestState === 'move';
    const volatiles = {};
    for (const id of Object.keys(one.volatiles).sort()) {
      if (!IGNORED.includes(id)) volatiles[id] = this.volatile(id, one.volatiles[id]);
    }
    return {
      species: one.species.id, types: one.types.map(type => type.toLowerCase()),
      stored: STATS.map(stat => storedStats[stat]), modified: STATS.map(stat => modifiedStats[stat]),
      boosts: BOOSTS.map(stat => boosts[stat]),
      moves: one.moveSlots.map(slot => [slot.id, slot.pp, !!slot.virtual]),
      disabled: one.moveSlots.map(slot => chooses && !!slot.disabled),
      maybeLocked: chooses && !!one.maybeLocked, trapped: chooses && !!one.trapped,
      transformed: one.transformed, lastMove: one.lastMove ? one.lastMove.id : '',
      volatiles,
    };
  }

  volatile(id, held) {
    const fields = VOLATILES[id];
    if (!fields) throw new JudgeError(`an unknown volatile ${id}: ${Object.keys(held)}`);
    const kept = {};
    for (const field of fields) {
      const value = held[field];
      kept[field] = value === undefined ? null : this.places.get(value) ?? value;
    }
    for (const [field, value] of Object.entries(held)) {
      if (!fields.includes(field) && !UNREAD.includes(field)) {
        throw new JudgeError(`${id} has a field ${field}: ${value}`);
      }
    }
    if (held.duration && !fields.includes('duration')) {
      throw new JudgeError(`${id} has a duration: ${held.duration}`);
    }
    return kept;
  }

  // What side n is asked, with the choice string of every action.
  request(n) {
    const sent = this.battle.sides[n].activeRequest;
    const team = this.battle.sides[n].pokemon;
    const legal = Array(9).fill(0);
    const request = {
      kind: 'wait', legal, moves: [], pp: [], single: false, slots: [], switches: [],
      maybeLocked: false, trapped: false,
    };
    if (sent.wait) {
      legal[0] = 1;
      return request;
    }
    request.kind = sent.forceSwitch ? 'switch' : 'move';
    if (!sent.forceSwitch) {
      const [{moves, trapped, maybeLocked}] = sent.active;
      request.slots = [...moves.keys()].sort((a, b) => compare(moves[a].id, moves[b].id) || a - b);
      request.moves = request.slots.map(slot => moves[slot].id);
      request.pp = request.slots.map(slot => moves[slot].pp ?? null);
      request.single = !('pp' in moves[0]);
      Object.assign(request, {trapped: !!trapped, maybeLocked: !!maybeLocked});
      request.slots.forEach((slot, action) => legal[action] = +!moves[slot].disabled);
    }
    const bench = team.slice(1);
    bench.sort((a, b) => compare(a.baseSpecies.id, b.baseSpecies.id) || a.position - b.position);
    request.switches = bench.map(one => this.index(one));
    if (!request.trapped) bench.forEach((one, i) => legal[4 + i] = +!one.fainted);
    return request;
  }

  // Showdown's words for an engine action.
  choice(n, request, action) {
    if (action < 4) return `move ${request.slots[action] + 1}`;
    return `switch ${this.battle.sides[n].pokemon.indexOf(this.teams[n][request.switches[action - 4]]) + 1}`;
  }
}

module.exports = {Reader, STATS, BOOSTS, VOLATILES};
