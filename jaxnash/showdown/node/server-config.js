'use strict';
// config/config.js of a Showdown server for jaxnash/showdown/server.py: loopback only, nobody to log in with,
// no limits on how fast its players play, nothing kept.
exports.bindaddress = '127.0.0.1';
exports.loginserver = 'http://127.0.0.1:9/'; // the discard port: no public server is ever asked
exports.loginserverpublickey = '';
exports.noguestsecurity = true;
exports.nothrottle = true;
exports.noipchecks = true;
exports.backdoor = false;
exports.consoleips = [];
exports.reportbattles = false;
exports.reportjoins = false;
exports.repl = false;
exports.crashguard = false;
exports.watchconfig = false;
exports.wsdeflate = null;
exports.usesqlite = false;
exports.logchat = false;
exports.loguserstats = 0;
exports.nobattlesearch = true;
exports.subprocesses = {
  network: 1, simulator: 1, validator: 0, verifier: 0, localartemis: 0, remoteartemis: 0,
  friends: 0, chatdb: 0, modlog: 0, pm: 0, battlesearch: 0, datasearch: 0,
};

// Only the main process has no parent of its own kind. Its stdin ends when Python does, however that happens.
if (!process.send) {
  process.stdin.resume();
  process.stdin.on('end', () => process.exit());
}
