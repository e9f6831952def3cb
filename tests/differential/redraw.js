'use strict';
// Does the outcome of the dropped draws matter? Plays every job twice, the second time with those drawn anew.
//
//   node redraw.js NODE_MODULES < JOBS > ANSWERS        both JSON lines; a JOB as for record.js, with
//   `redraw`
//
// ANSWER = {seed, dropped: how many such draws, changed: how many came out differently, decisions,
// difference} difference is null where the states, requests, choices, all other draws and the end were the
// same in both, else where they first differ: "decisions[12].state.sides[0].on.boosts[1]: 0, 1".
const jsonLines = require('./lines.js');
const {load, DROPPED} = require('./draws.js');
const {play} = require('./record.js');

function firstDifference(a, b, at = '') {
  if (a === b) return null;
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') {
    return `${at}: ${JSON.stringify(a)}, ${JSON.stringify(b)}`;
  }
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const found = firstDifference(a[key], b[key], Array.isArray(a) ? `${at}[${key}]` : `${at}.${key}`);
    if (found) return found;
  }
  return null;
}

function answer(sim, {redraw, ...job}) {
  const plain = play(sim, job);
  const other = play(sim, {...job, redraw});
  const redrawn = job.redrawn || DROPPED;
  const [first, second] = [plain, other].map(record => [record, ...record.decisions].flatMap(one => one.draws)
    .filter(([site]) => redrawn.includes(site)));
  for (const record of [plain, other]) {
    for (const one of [record, ...record.decisions]) {
      one.draws = one.draws.filter(([site]) => !redrawn.includes(site));
    }
  }
  return {
    seed: job.seed, dropped: first.length, decisions: plain.decisions.length,
    changed: first.filter((draw, i) => second[i] && draw[3] !== second[i][3]).length,
    difference: firstDifference(plain, other),
  };
}

function main([modules]) {
  const sim = load(modules);
  for (const job of jsonLines.questions()) jsonLines.answer(answer(sim, job));
}

module.exports = {firstDifference};

if (require.main === module) main(process.argv.slice(2));
