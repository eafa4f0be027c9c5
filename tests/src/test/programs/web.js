// SPDX-License-Identifier: MIT
// An HTTP server and its clients in one program; what it prints is the same each time.
'use strict';
const crypto = require('crypto');
const dgram = require('dgram');
const dns = require('dns');
const fs = require('fs');
const http = require('http');
const net = require('net');
const os = require('os');

const host = '127.0.0.1';
const sum = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

function request(options, body) {
  return new Promise((resolve, reject) => {
    const sent = http.request({ host, ...options }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => resolve({ status: answer.statusCode, body: Buffer.concat(parts) }));
      answer.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

function answer(question, reply) {
  if (question.url === '/file') {
    fs.createReadStream('file').pipe(reply);
  } else if (question.url !== '/slow') {
    const parts = [];
    question.on('data', (part) => parts.push(part));
    question.on('end', () => reply.end(sum(Buffer.concat(parts))));
  }
}

async function posts(port) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  const all = [];
  for (let i = 0; i < 300; i++) {
    const body = Buffer.alloc(i * 500, 'x');
    all.push(
      request({ port, agent, method: 'POST', path: '/sum' }, body).then(
        (got) => got.body.toString() === sum(body)));
  }
  console.log('posts:', (await Promise.all(all)).filter(Boolean).length);
  agent.destroy();
}

async function timeout(port) {
  const sent = http.get({ host, port, path: '/slow', timeout: 300 });
  await once(sent, 'timeout');
  sent.destroy();
  console.log('timeout:', (await once(sent, 'error')).code);
}

async function datagram() {
  const receiver = dgram.createSocket('udp4');
  receiver.bind(0, host);
  await once(receiver, 'listening');
  const sender = dgram.createSocket('udp4');
  sender.send('a datagram', receiver.address().port, host);
  console.log('received:', (await once(receiver, 'message')).toString());
  sender.close();
  receiver.close();
}

async function halfClosed() {
  const server = net.createServer({ allowHalfOpen: true }, (connection) => {
    let bytes = 0;
    connection.on('data', (part) => { bytes += part.length; });
    connection.on('end', () => connection.end('got ' + bytes));
  });
  server.listen(0, host);
  await once(server, 'listening');
  const client = net.connect(server.address().port, host);
  client.on('data', (part) => console.log(part.toString()));
  client.end(Buffer.alloc(1000000));
  await once(client, 'close');
  server.close();
}

async function main() {
  fs.writeFileSync('file', Buffer.alloc(4 << 20, '0123456789abcdef'));
  const server = http.createServer(answer);
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address();
  await posts(port);
  const file = await request({ port, path: '/file' });
  console.log('file:', file.status, file.body.length, sum(file.body));
  await timeout(port);
  await request({ port: 1 }).catch((e) => console.log('nobody there:', e.code, e.syscall));
  await datagram();
  await halfClosed();
  const found = await dns.promises.lookup('localhost', { family: 4 });
  console.log('localhost:', found.address);
  console.log('interfaces:', Object.keys(os.networkInterfaces()).join());
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
  console.log('closed');
}

main();
