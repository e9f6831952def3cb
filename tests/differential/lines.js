'use strict';
// JSON lines on stdin and stdout, read as they come and one at a time.
const fs = require('fs');

function* questions() {
  const chunk = Buffer.alloc(1 << 16);
  let rest = Buffer.alloc(0);
  for (;;) {
    let end;
    while ((end = rest.indexOf(10)) >= 0) {
      const line = rest.toString('utf8', 0, end);
      rest = rest.subarray(end + 1);
      if (line) yield JSON.parse(line);
    }
    const got = fs.readSync(0, chunk, 0, chunk.length);
    if (!got) return;
    rest = Buffer.concat([rest, chunk.subarray(0, got)]);
  }
}

function answer(value) {
  const text = Buffer.from(JSON.stringify(value) + '\n');
  try {
    for (let at = 0; at < text.length;) at += fs.writeSync(1, text, at);
  } catch (error) {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0); // nobody is left to tell
  }
}

module.exports = {questions, answer};
