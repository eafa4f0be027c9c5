// SPDX-License-Identifier: MIT
// Two workers behind one port. With "shared" the listening socket is passed to them, otherwise each
// connection is: both ways go over a Unix socket.
'use strict';
const cluster = require('cluster');
const http = require('http');

const host = '127.0.0.1';
cluster.schedulingPolicy = process.argv[2] === 'shared' ? cluster.SCHED_NONE : cluster.SCHED_RR;

function get(port) {
  return new Promise((resolve, reject) => {
    http.get({ host, port, agent: false }, (answer) => {
      let text = '';
      answer.on('data', (part) => { text += part; });
      answer.on('end', () => resolve(text));
    }).on('error', reject);
  });
}

if (cluster.isPrimary) {
  let listening = 0;
  for (const worker of [cluster.fork(), cluster.fork()]) {
    worker.on('exit', (code) => console.log('a worker ended:', code));
  }
  cluster.on('listening', async (worker, address) => {
    if (++listening < 2) return;
    const seen = new Set();
    for (let i = 0; i < 1000 && (seen.size < 2 || i < 40); i++) {
      const four = [0, 1, 2, 3].map(() => get(address.port));
      (await Promise.all(four)).forEach((pid) => seen.add(pid));
    }
    console.log('workers that answered:', seen.size);
    cluster.disconnect(() => console.log('disconnected'));
  });
} else {
  http.createServer((question, reply) => reply.end('' + process.pid)).listen(0, host);
}
