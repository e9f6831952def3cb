'use strict';
// Loaded into a pool's worker by NODE_OPTIONS=--require: after every HEAP_EVERY battles that end it collects the
// garbage and appends the heap in use, in bytes, to the file HEAP_FILE. The worker itself knows nothing of it.
const fs = require('fs');
const v8 = require('v8');
const vm = require('vm');

v8.setFlagsFromString('--expose-gc');
const gc = vm.runInNewContext('gc');
const {Battle} = require(process.env.HEAP_BATTLE);
const {destroy} = Battle.prototype;
let battles = 0;
Battle.prototype.destroy = function () {
  destroy.call(this);
  if (++battles % +process.env.HEAP_EVERY) return;
  gc();
  fs.appendFileSync(process.env.HEAP_FILE, `${process.memoryUsage().heapUsed}\n`);
};
