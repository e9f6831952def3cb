// node generate.js PACKAGE_DIR: prints the Gen 1 facts of Pokémon Showdown as JSON. Run through generate.py.
"use strict";
const path = require("path");
const root = path.resolve(process.argv[2]);
const {Dex, Battle} = require(root);
const dex = Dex.forFormat("gen1ou");
const battle = new Battle({formatid: "gen1ou"});
const real = (thing) => thing.gen <= 1 && !thing.isNonstandard;
const percent = (pair) => (pair ? Math.round((100 * pair[0]) / pair[1]) : 0);

const types = dex.types.all().filter((t) => !t.isNonstandard);
// damageTaken codes: 0 neutral, 1 double, 2 half, 3 immune; stored as halves of the multiplier
const halves = [2, 4, 1, 0];
const chart = types.map((attack) => types.map((defence) => halves[defence.damageTaken[attack.name]]));

const species = dex.species.all().filter((s) => real(s) && s.num > 0).map((s) => {
  if (s.baseStats.spa !== s.baseStats.spd) throw new Error(`${s.id}: two Specials`);
  return [s.id, s.types.map((t) => t.toLowerCase()), [s.baseStats.hp, s.baseStats.atk, s.baseStats.def,
    s.baseStats.spa, s.baseStats.spe]];
});

const boosts = (changes) => {
  const out = {};
  for (const [stat, by] of Object.entries(changes || {})) out[stat === "spa" || stat === "spd" ? "spc" : stat] = by;
  return out;
};
const fixed = {seismictoss: 100, nightshade: 100, psywave: 75}; // at level 100; psywave is 1-149, its mean
const moves = dex.moves.all().filter((m) => real(m) && m.num > 0).map((m) => {
  const side = m.secondary || {};
  const self = boosts(m.target === "self" ? m.boosts : m.self && m.self.boosts);
  const foe = boosts(m.target === "self" ? null : m.boosts || side.boosts);
  return [m.id, {
    power: m.basePower,
    accuracy: m.accuracy === true ? 0 : m.accuracy, // 0: never misses
    priority: m.priority,
    type: m.type === "???" ? "" : m.type.toLowerCase(),
    category: m.category,
    pp: battle.calculatePP(m),
    critical: m.critRatio === 2 ? 1 : 0,
    fixed: typeof m.damage === "number" ? m.damage : fixed[m.id] || 0,
    hits: Array.isArray(m.multihit) ? 30 : 10 * (m.multihit || 1), // tenths; 2-5 hits are 3.0 on average
    selfdestruct: m.selfdestruct ? 1 : 0,
    recharge: m.self && m.self.volatileStatus === "mustrecharge" ? 1 : 0,
    charge: ["dig", "fly", "razorwind", "skullbash", "skyattack", "solarbeam"].includes(m.id) ? 1 : 0,
    trap: m.self && m.self.volatileStatus === "partialtrappinglock" ? 1 : 0,
    locks: m.self && ["lockedmove", "rage"].includes(m.self.volatileStatus) ? 1 : 0,
    ohko: m.ohko ? 1 : 0,
    recoil: percent(m.recoil),
    drain: percent(m.drain),
    heal: m.id === "rest" ? 100 : m.flags.heal && !m.drain && m.category === "Status" && m.target === "self" ? 50 : 0,
    status: m.status || side.status || "",
    chance: m.secondary ? m.secondary.chance || 100 : m.status || m.volatileStatus ? 100 : 0,
    confusion: [m.volatileStatus, side.volatileStatus].includes("confusion") ? 1 : 0,
    flinch: side.volatileStatus === "flinch" ? 1 : 0,
    self, foe,
    // for the engine
    number: m.num,
    secondary: side.chance ? Math.ceil((side.chance * 256) / 100) - (side.volatileStatus === "confusion" ? 1 : 0) : 0,
    own: m.target === "self" ? 1 : 0,
    ignores: m.ignoreImmunity === true ? 1 : 0, // type immunities
    callable: m.flags.metronome ? 1 : 0,
  }];
}).map(([id, facts]) => [id, Object.fromEntries(Object.entries(facts).filter(([, value]) =>
  value && (typeof value !== "object" || Object.keys(value).length)))]);

process.stdout.write(JSON.stringify({
  package: "pokemon-showdown " + require(path.join(root, "package.json")).version,
  types: types.map((t) => t.id), chart, species, moves,
}));
