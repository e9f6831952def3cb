'use strict';
// Node alone: replays recorded battles with the code of the pool's worker (per-side split of the log and both
// requests of every decision point), one after the other, without pipes or Python.
//
//   node replay.js WORKER_JS NODE_MODULES < {"turnLimit": 300, "battles": [[message, ...], ...]}
//
// Answers {"seconds": s, "ends": [[state, turn], ...]}.
const fs = require('fs');
const path = require('path');

const [workerScript, modules] = process.argv.slice(2);
const {simulator, answer} = require(workerScript);
const {turnLimit, battles} = JSON.parse(fs.readFileSync(0, 'utf8'));
const format = 'gen1ou';
const Battle = simulator(modules);
require(path.join(modules, 'pokemon-showdown/dist/sim/dex.js')).Dex.forFormat(format).loadData();

const games = new Map();
const ends = [];
const began = performance.now();
for (const messages of battles) {
  let text;
  for (const message of messages) text = answer(games, Battle, format, turnLimit, message);
  ends.push(text.split('\x1f', 3).slice(1));
}
const seconds = (performance.now() - began) / 1000;
process.stdout.write(JSON.stringify({seconds, ends}));
