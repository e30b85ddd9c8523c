import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { addAddress, deleteAddress } from '../../../cni/kernel/netlink/addresses.ts';
import { AF_INET, AF_INET6 } from '../../../cni/kernel/netlink/attributes.ts';
import { changeLink, deleteLink, findLink, linkOf, listLinks } from '../../../cni/kernel/netlink/links.ts';
import { deleteNeighbour } from '../../../cni/kernel/netlink/neighbours.ts';
import { addRoute, deleteRoute, listRoutes, routeTo } from '../../../cni/kernel/netlink/routes.ts';
import { addRule, deleteRule, listRules } from '../../../cni/kernel/netlink/rules.ts';
import { Netlink } from '../../../cni/kernel/netlink/socket.ts';
import { inNetns } from '../../../cni/kernel/netns.ts';
import { readSysctl, writeSysctl } from '../../../cni/kernel/sysctl.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { ip, removeNamespace } from '../../support/network/commands.ts';

leakCheck();
const filesBefore = readdirSync('/proc/self/fd').length;
const name = `hdlt-k${process.pid}`;
const netns = `/run/netns/${name}`;
const ROUTES = 3_000;

before(() => {
  ip('netns', 'add', name);
  ip('-n', name, 'link', 'set', 'lo', 'up');
});
after(() => {
  removeNamespace(name);
  assert.equal(readdirSync('/proc/self/fd').length, filesBefore);
});

test('a refusal has the name of its number and the reason that the kernel gives', () => {
  using netlink = new Netlink(netns);
  const { ifindex } = linkOf(netlink, 'lo');
  const strange = { to: '10.9.0.0/24', ifindex, src: '192.0.2.1' };
  assert.throws(() => addRoute(netlink, strange), { code: 'EINVAL', message: /Invalid prefsrc address/ });
  const rule = { family: AF_INET, priority: 9, table: 77 } as const;
  addRule(netlink, rule);
  assert.throws(() => addRule(netlink, rule), { code: 'EEXIST' });
  assert.deepEqual([deleteRule(netlink, rule), deleteRule(netlink, rule)], [true, false]);
  const address = { ifindex, address: '10.9.0.1' };
  addAddress(netlink, address);
  assert.throws(() => addAddress(netlink, address), { code: 'EEXIST' });
  const route = { to: '10.8.0.0/24', ifindex };
  addRoute(netlink, route);
  assert.throws(() => addRoute(netlink, route), { code: 'EEXIST' });
  assert.deepEqual([deleteRoute(netlink, route), deleteRoute(netlink, route)], [true, false]);
  assert.deepEqual([deleteAddress(netlink, address), deleteAddress(netlink, address)], [true, false]);
});

test('what is not there is found by nobody, and its deletion is no error', () => {
  using netlink = new Netlink(netns);
  assert.equal(findLink(netlink, 'nothing'), undefined);
  assert.equal(findLink(netlink, 999), undefined);
  assert.throws(() => linkOf(netlink, 'nothing'), { code: 'ENODEV' });
  assert.throws(() => changeLink(netlink, 999, { up: true }), { code: 'ENODEV' });
  assert.equal(deleteLink(netlink, 999), false);
  assert.equal(deleteNeighbour(netlink, 999, '10.0.0.1'), false);
  assert.equal(deleteNeighbour(netlink, linkOf(netlink, 'lo').ifindex, 'fd00::1'), false);
  assert.equal(deleteRoute(netlink, { to: 'fd07::/64', table: 707 }), false);
  assert.equal(routeTo(netlink, '198.51.100.1'), undefined);
  assert.equal(routeTo(netlink, '2001:db8::1'), undefined);
  for (const family of [AF_INET, AF_INET6] as const)
    assert.deepEqual(listRoutes(netlink, { family, table: 707 }), []);
});

test('a list of many parts comes whole, and a filter leaves the others out', () => {
  using netlink = new Netlink(netns);
  const { ifindex } = linkOf(netlink, 'lo');
  const table = 300;
  for (let n = 0; n < ROUTES; n++)
    addRoute(netlink, {
      to: `10.${n >> 8}.${n & 255}.0/24`,
      ifindex,
      table,
      protocol: n % 2 === 0 ? 72 : 73,
    });
  const filter = { family: AF_INET, table, ifindex } as const;
  assert.equal(listRoutes(netlink, filter).length, ROUTES);
  const half = listRoutes(netlink, { ...filter, protocol: 73 });
  assert.equal(half.length, ROUTES / 2);
  assert.equal(new Set(half.map(({ to }) => to)).size, ROUTES / 2);
  assert.deepEqual(
    listLinks(netlink).map((one) => one.name),
    ['lo'],
  );
  const defaults = listRules(netlink, AF_INET).map(({ priority, table: leads }) => [priority, leads]);
  assert.deepEqual(defaults, [
    [0, 255],
    [32766, 254],
    [32767, 253],
  ]);
});

test('a socket stays in its namespace, and settings are those of the thread', () => {
  using netlink = new Netlink(netns);
  const inside = inNetns(netns, () => {
    writeSysctl('net/ipv4/ip_forward', readSysctl('net/ipv4/ip_forward') === '1' ? '0' : '1');
    return readSysctl('net/ipv4/ip_forward');
  });
  assert.notEqual(inside, readSysctl('net/ipv4/ip_forward'));
  assert.equal(inside, ip('netns', 'exec', name, 'sysctl', '-n', 'net.ipv4.ip_forward').trim());
  assert.equal(listLinks(netlink).length, 1);
  inNetns(netns, () => {
    assert.equal(readSysctl('net/ipv4/nothing'), undefined);
    assert.throws(() => writeSysctl('net/ipv4/nothing', '1'), { code: 'ENOENT' });
    assert.throws(() => writeSysctl('net/ipv4/ip_forward', 'x'), {
      code: 'EINVAL',
      message: /set net\/ipv4\/ip_forward/,
    });
    assert.equal(writeSysctl('net/ipv4/ip_forward', inside ?? ''), false);
  });
});
