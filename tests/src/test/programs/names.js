// SPDX-License-Identifier: MIT
// What Node.js finds of the names of zone.py: by c-ares (resolve), and by the C library (lookup).
'use strict';
const dns = require('dns').promises;

const shown = (promise) =>
  promise.then((found) => JSON.stringify(found), (error) => error.code);

(async () => {
  console.log(dns.getServers().join(' '));
  for (const name of ['host', 'alias', 'v4', 'v6', 'none', 'many', 'failing', 'lost', 'broken']) {
    const whole = name + '.zone.example';
    console.log(name, 'A', await shown(dns.resolve4(whole)), 'AAAA', await shown(dns.resolve6(whole)));
  }
  console.log('CNAME', await shown(dns.resolveCname('alias.zone.example')));
  console.log('MX', await shown(dns.resolveMx('host.zone.example')));
  console.log('TXT', await shown(dns.resolveTxt('text.zone.example')));
  console.log('SRV', await shown(dns.resolveSrv('_ob._tcp.zone.example')));
  console.log('PTR', await shown(dns.reverse('192.0.2.10')));
  for (const name of ['host', 'alias', 'only', 'deep.host', 'entry.example', 'none.zone.example']) {
    console.log('lookup', name, await shown(dns.lookup(name, {all: true, verbatim: true})));
  }
  const many = Array.from({length: 30}, () => shown(dns.resolve4('alias.zone.example')));
  console.log('at once', new Set(await Promise.all(many)).size);
})();
