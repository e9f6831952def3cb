'use strict';
// Plays Gen 1 battles in Showdown's simulator and writes one record a line.
//
//   node record.js NODE_MODULES < JOBS > RECORDS        both JSON lines
//
// JOB = {
//   seed      16 hex digits: of the battle's draws
//   teams     [packed, packed], or absent: drawn by `kind` from the seed
//   kind      of teams, see teams.js; with `teams` any word, for the record
//   policy    "random" (default): every legal action alike; "rare": moves whose effects are seldom seen more
//             often; "asked": at every decision {lines, raw} is written, as below, and a line [action or
//             null, ...] read
//   redraw    a number: the draws of the sites `redrawn` (default: the dropped ones) are drawn anew from it
//   force     {site: [values or null]}: draws of a site are one of these values, null: as drawn
//   weights   {move id or "switch": weight} for choices by policy; others as the policy has them
//   choices   [[action or null, ...], ...]: play these instead of the policy's
//   lines     true: each decision also has `lines`, the protocol that its choices caused, and the record
//             those before the first ("1" or "2" leads where only that side sees a line)
//   raw       true: each decision also has `raw`, both requests as sent
//   turns     stop after so many turns (default: the simulator's own end)
// }
// RECORD = {seed, teams, format, kind, policy, draws, decisions, state, winner, turns, error}
//   draws      before the first decision, when the leads come out
//   decisions  [{state, requests, choices, draws}]: before the choices, what each side is asked, the engine
//              actions chosen (null: waits), the draws from then to the next decision; a draw is [site, lo,
//              hi, value]
//   state      after the last choices; at the end unless `turns` cut it short or the simulator threw
//   winner     0, 1, or null: a tie, or not ended
//   turns      battle.turn
//   error      null, or what the simulator threw while it played the last choices (then `state` is null)
// STATE and REQUEST are described in state.js, draws and sites in draws.js. A record depends on its job
// alone.
const path = require('path');
const jsonLines = require('./lines.js');
const {load, JudgeError} = require('./draws.js');
const {Reader} = require('./state.js');
const {Policy} = require('./policy.js');
const {teamsOf} = require('./teams.js');

const FORMAT = 'gen1ou';

function play(sim, job, ask) {
  try {
    return battleOf(sim, job, ask);
  } catch (error) {
    throw Object.assign(error, {message: `${error.message} (job ${JSON.stringify(job)})`});
  }
}

function battleOf(sim, job, ask) {
  const {Battle, Prng, PRNG} = sim;
  const given = job.teams && job.teams.map(team => withoutAbilities(sim, team));
  const teams = given || teamsOf(sim, job.kind, job.seed);
  const record = {seed: job.seed, teams, format: FORMAT};
  record.kind = job.kind || 'given';
  record.policy = job.policy || 'random';
  const redraw = job.redraw === undefined ? null : new PRNG(`${job.redraw},1,2,3`);
  const prng = new Prng(`gen5,${job.seed}`, {redraw, redrawn: job.redrawn, force: job.force});
  let refused = '';
  const battle = new Battle({
    formatid: FORMAT,
    prng,
    send(type, data) {
      if (type === 'sideupdate' && data.includes('|error|')) refused = data;
    },
  });
  battle.setPlayer('p1', {name: 'p1', team: record.teams[0]});
  battle.setPlayer('p2', {name: 'p2', team: record.teams[1]});
  const reader = new Reader(battle);
  const policy = record.policy === 'asked' ? null : new Policy(job.seed, record.policy, job.weights);
  record.draws = prng.take();
  record.decisions = [];
  record.error = null;
  let said = job.lines || !policy ? lines(battle.log, 0) : null; // since the decision before
  let shown = battle.log.length;
  if (job.lines) record.lines = said;
  while (!battle.ended && !(battle.turn > job.turns)) {
    const requests = [0, 1].map(n => reader.request(n));
    const state = reader.state();
    const decision = {state, requests};
    const told = job.choices ? job.choices[record.decisions.length] : null;
    if (job.choices && !told) break;
    const raw = job.raw || !policy ? battle.sides.map(side => JSON.stringify(side.activeRequest)) : null;
    if (job.raw) decision.raw = raw;
    const choose = () => (policy ? requests.map(request => policy.choose(request)) : ask({lines: said, raw}));
    decision.choices = told || choose();
    record.decisions.push(decision);
    try {
      decision.choices.forEach((action, n) => {
        if (action === null) return;
        const words = reader.choice(n, requests[n], action);
        if (!battle.choose(`p${n + 1}`, words)) throw new JudgeError(`refused ${words}: ${refused}`);
      });
    } catch (error) {
      if (error instanceof JudgeError) throw error;
      record.error = error.message;
    }
    decision.draws = prng.take();
    if (said) said = lines(battle.log, shown);
    if (job.lines) decision.lines = said;
    battle.sentLogPos = shown = battle.log.length;
    if (record.error) break;
  }
  record.state = record.error ? null : reader.state();
  record.winner = record.state && record.state.winner;
  record.turns = battle.turn;
  battle.destroy();
  return record;
}

// A packed team as the validator leaves it. An empty ability would be unpacked as the species' ability of
// today, and the simulator would play it: Intimidate, Water Absorb, Natural Cure, in Gen 1.
function withoutAbilities({dist}, packed) {
  const {Teams} = require(path.join(dist, 'sim/teams.js'));
  return Teams.pack(Teams.unpack(packed).map(set => ({...set, ability: 'No Ability'})));
}

// As jaxnash/showdown/node/worker.js tells them: "1" or "2" leads where only that side may see a line.
function lines(log, from) {
  const out = [];
  for (let i = from; i < log.length; i++) {
    const line = log[i];
    if (line.startsWith('|split|p')) {
      const own = line[8];
      const secret = log[++i];
      const shared = log[++i];
      if (secret) out.push(own + secret);
      if (shared) out.push((own === '1' ? '2' : '1') + shared);
    } else if (line && !line.startsWith('|t:|')) {
      out.push(line);
    }
  }
  return out;
}

function main([modules]) {
  const sim = load(modules);
  const questions = jsonLines.questions();
  const ask = question => {
    jsonLines.answer(question);
    return questions.next().value;
  };
  for (const job of questions) jsonLines.answer(play(sim, job, ask));
}

module.exports = {play, FORMAT};

if (require.main === module) main(process.argv.slice(2));
