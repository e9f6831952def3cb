'use strict';
// Validates or packs teams with Showdown's own code: a JSON object in, a JSON array out.
//
//   node teams.js NODE_MODULES < {"task": "validate" | "pack", "format": "gen1ou", "teams": ["...", ...]}
//
// validate: a list of problems per team; pack: a packed team, or null where the text holds no Pokemon.
// A server battles with what its validator made of a team, so that is packed: above all "No Ability", where the
// importer leaves a gap that the simulator fills with what the species can do today.
const fs = require('fs');
const path = require('path');

const sim = path.join(process.argv[2], 'pokemon-showdown/dist/sim');
const {Teams} = require(path.join(sim, 'teams.js'));
const {task, format, teams} = JSON.parse(fs.readFileSync(0, 'utf8'));

const read = text => {
  const team = Teams.import(text.trim());
  return team && team.length ? team : null;
};

const validator = require(path.join(sim, 'team-validator.js')).TeamValidator.get(format);
let answer;
if (task === 'pack') {
  answer = teams.map(text => {
    const team = read(text);
    if (team) validator.validateTeam(team);
    return team && Teams.pack(team);
  });
} else {
  answer = teams.map(text => {
    const team = read(text);
    return team ? validator.validateTeam(team) || [] : ['The text holds no Pokemon'];
  });
}
process.stdout.write(JSON.stringify(answer));
