// A nameserver outside of the cluster, at the address that nodes' /etc/resolv.conf names: `outside.example` is 192.0.2.7, and no other
// name is there. Runs in the world's network namespace until its standard input ends.
import { createSocket } from 'node:dgram';
import { AUTHORITATIVE_ANSWER, decode, encode } from 'dns-packet';
import { ADDRESSES } from '../cluster/layout.ts';

const noSuchName = 3;

const socket = createSocket('udp4');
socket.on('message', (message, from) => {
  const { id, questions = [] } = decode(message);
  const [question] = questions;
  const isKnown = question?.name === 'outside.example';
  const answers =
    isKnown && question.type === 'A'
      ? [{ type: 'A', name: question.name, ttl: 5, data: '192.0.2.7' } as const]
      : [];
  const flags = AUTHORITATIVE_ANSWER | (isKnown ? 0 : noSuchName);
  socket.send(encode({ type: 'response', id: id ?? 0, flags, questions, answers }), from.port, from.address);
});
socket.bind(53, ADDRESSES.worldIp4, () => console.log('listens'));
process.stdin.on('end', () => socket.close()).resume();
