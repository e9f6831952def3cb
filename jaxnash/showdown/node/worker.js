'use strict';
// Plays many Showdown battles at once for jaxnash/showdown/pool.py, one process and no event loop.
//
//   node worker.js NODE_MODULES FORMAT TURN_LIMIT FRAMES_PER_WRITE
//
// Both ways a message is a 4-byte little-endian length and that many bytes of UTF-8.
// In:   "S\n<id>\n<16 hex of the seed>\n<packed team of p1>\n<packed team of p2>"      a new battle
//       "C\n<id>\n<choice of p1 or empty>\n<choice of p2 or empty>"                   both sides' choices
// Out:  one empty message once the simulator is loaded, then exactly one message per message read, its fields
//       separated by \x1f:  id, state, turn, error of p1, error of p2, request of p1, request of p2, log.
//       state: "" running, "0" "1" the winner, "t" a tie, "x" over the turn limit, "!" the simulator threw.
//       log: lines, each led by "1" or "2" where only that side may see it.
const fs = require('fs');
const path = require('path');

const ENDED_BY_SIMULATOR = {p1: '0', p2: '1', '': 't'};

function simulator(modules) {
  return require(path.join(modules, 'pokemon-showdown/dist/sim/battle.js')).Battle;
}

function open(Battle, formatid, id, seed, team1, team2) {
  const game = {id, battle: null, position: 0, errors: ['', '']};
  game.battle = new Battle({
    formatid,
    seed: `gen5,${seed}`,
    send(type, data) {
      // Logs and requests are read from the battle itself; only a refused choice is told in no other place.
      if (type !== 'sideupdate') return;
      const at = data.indexOf('|error|');
      if (at >= 0) game.errors[data[1] - 1] = plain(data.slice(at + 7));
    },
  });
  game.battle.setPlayer('p1', {name: 'p1', team: team1});
  game.battle.setPlayer('p2', {name: 'p2', team: team2});
  return game;
}

function plain(text) {
  return String(text).replace(/[\x00-\x1f]+/g, ' ');
}

function choose(game, choices) {
  const {battle} = game;
  const asked = battle.sides.map(side => !side.isChoiceDone());
  // Asked beforehand: the first side's choice may end the turn, and the other's must not count for the next one.
  for (let i = 0; i < 2; i++) {
    if (asked[i] && choices[i]) battle.choose(battle.sides[i].id, choices[i]);
    else if (asked[i]) game.errors[i] = '[Invalid choice] No choice was given';
    else if (choices[i]) game.errors[i] = `[Invalid choice] Can't do anything: It's not your turn`;
  }
}

// Like Showdown's extractChannelMessages for both sides at once, without the regular expression.
function newLines(game) {
  const {log} = game.battle;
  const lines = [];
  for (let i = game.position; i < log.length; i++) {
    const line = log[i];
    if (line.startsWith('|split|p')) {
      const own = line[8];
      const secret = log[++i];
      const shared = log[++i];
      if (secret) lines.push(own + secret);
      if (shared) lines.push((own === '1' ? '2' : '1') + shared);
    } else if (line && !line.startsWith('|t:|')) {
      lines.push(line);
    }
  }
  game.position = game.battle.sentLogPos = log.length;
  return lines.join('\n');
}

function request(side) {
  const {activeRequest} = side;
  // Where the other side's choice was refused, this side's stands: it waits.
  if (!activeRequest.wait && side.isChoiceDone()) return JSON.stringify({wait: true, side: side.getRequestData()});
  return JSON.stringify(activeRequest);
}

function report(game, turnLimit, thrown) {
  const {battle} = game;
  let state = '';
  if (thrown !== undefined) {
    state = '!';
    game.errors.fill(plain(thrown?.stack || thrown));
  } else if (battle.ended) {
    state = ENDED_BY_SIMULATOR[battle.winner];
  } else if (battle.turn > turnLimit) {
    state = 'x';
  }
  const requests = state ? '\x1f' : request(battle.sides[0]) + '\x1f' + request(battle.sides[1]);
  const [error1, error2] = game.errors;
  if (error1 || error2) game.errors = ['', ''];
  return [game.id, state, battle ? battle.turn : 0, error1, error2, requests, battle ? newLines(game) : ''].join('\x1f');
}

// One message in, one message out; `games` holds the running battles.
function answer(games, Battle, format, turnLimit, message) {
  const [kind, id, ...rest] = message.split('\n');
  let game = games.get(id);
  let thrown;
  try {
    if (kind === 'S') games.set(id, game = open(Battle, format, id, ...rest));
    else choose(game, rest);
  } catch (error) {
    thrown = error ?? 'unknown';
    game ??= {id, battle: null, errors: ['', '']};
  }
  const text = report(game, turnLimit, thrown);
  if (text.charCodeAt(id.length + 1) !== 31) { // a state: the battle is over
    games.delete(id);
    if (thrown === undefined) game.battle.destroy();
  }
  return text;
}

function main([modules, format, turnLimit, framesPerWrite]) {
  const Battle = simulator(modules);
  const games = new Map();
  let input = Buffer.allocUnsafe(1 << 16);
  let output = Buffer.allocUnsafe(1 << 20);
  let filled = 0;
  let written = 0;
  let frames = 0;

  const flush = () => {
    for (let at = 0; at < written;) at += fs.writeSync(1, output, at, written - at);
    written = frames = 0;
  };
  const send = text => {
    const room = 4 + 3 * text.length; // UTF-8 takes at most 3 bytes per UTF-16 unit
    if (written + room > output.length) flush();
    if (room > output.length) output = Buffer.allocUnsafe(2 * room);
    const size = output.write(text, written + 4, 'utf8');
    output.writeUInt32LE(size, written);
    written += 4 + size;
    if (++frames >= framesPerWrite) flush();
  };

  // Built once before the greeting, so that the data files are loaded by then.
  require(path.join(modules, 'pokemon-showdown/dist/sim/dex.js')).Dex.forFormat(format).loadData();
  send('');
  flush();
  for (;;) {
    const got = fs.readSync(0, input, filled, input.length - filled);
    if (!got) return;
    filled += got;
    let at = 0;
    while (filled - at >= 4) {
      const size = input.readUInt32LE(at);
      if (filled - at - 4 < size) break;
      send(answer(games, Battle, format, +turnLimit, input.toString('utf8', at + 4, at + 4 + size)));
      at += 4 + size;
    }
    flush();
    input.copyWithin(0, at, filled);
    filled -= at;
    if (filled >= 4 && input.readUInt32LE(0) + 4 > input.length) {
      const larger = Buffer.allocUnsafe(input.readUInt32LE(0) + 4);
      input.copy(larger, 0, 0, filled);
      input = larger;
    }
  }
}

module.exports = {simulator, answer};

if (require.main === module) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    if (error.code !== 'EPIPE') throw error; // the parent is gone: nobody is left to tell
  }
}
