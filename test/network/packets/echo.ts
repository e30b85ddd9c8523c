import { spawn } from 'node:child_process';
import { RingReader } from '../../../cni/kernel/libbpf.ts';
import { type Drop, drop as dropLayout } from '../../../cni/maps/layouts.ts';
import { decode } from '../../../cni/maps/struct.ts';
import { RINGS } from '../../../cni/maps/tables.ts';
import { namespaceOf, runIn, type TwoNodes } from '../../support/network/two-nodes.ts';
import { eventually } from '../../support/wait.ts';

const TCP_PORT = 8080;
export const UDP_PORT = 8081;

/** Answers each connection with the client's address and echoes each datagram. */
const SERVER = `
import socket, socketserver, threading, sys
class T(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall((self.client_address[0] + '\\n').encode())
        while True:
            data = self.request.recv(65536)
            if not data: return
            self.request.sendall(data)
class U(socketserver.BaseRequestHandler):
    def handle(self): self.request[1].sendto(self.request[0], self.client_address)
class S(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6; allow_reuse_address = True; daemon_threads = True
class D(socketserver.ThreadingUDPServer):
    address_family = socket.AF_INET6; max_packet_size = 65535; daemon_threads = True
t = S(('::', 8080), T); u = D(('::', 8081), U)
threading.Thread(target=u.serve_forever, daemon=True).start()
print('ready', flush=True); t.serve_forever()
`;
const TCP_CLIENT = `
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3]))
f = s.makefile('rw'); print(f.readline().strip().replace('::ffff:', ''))
blob = 'x' * 200000
import threading
threading.Thread(target=lambda: s.sendall(blob.encode()), daemon=True).start()
got = 0
while got < len(blob): got += len(s.recv(65536))
print(got)
`;
const UDP_CLIENT = `
import socket, sys
i = socket.getaddrinfo(sys.argv[1], int(sys.argv[3]), type=socket.SOCK_DGRAM)[0]
s = socket.socket(i[0], socket.SOCK_DGRAM); s.settimeout(3)
s.connect(i[4]); s.send(b'y' * int(sys.argv[2])); print(len(s.recv(65535)))
`;

const children = new Set<ReturnType<typeof spawn>>();

/** Ends what a test left running. */
export function stopAll(): void {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
}

/** A process in a pod or a node whose words are read; ended by `stop`, at the latest by `stopAll`. */
export function start(name: string, ...command: string[]) {
  const child = spawn('ip', ['netns', 'exec', namespaceOf(name), ...command]);
  children.add(child);
  const said = { text: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    said.text += chunk.toString();
  });
  const stop = () => {
    child.kill('SIGKILL');
    children.delete(child);
  };
  return { said, stop, tell: (line: string) => child.stdin.write(`${line}\n`) };
}

/** TCP on port 8080, UDP on 8081, both families; the function ends it. */
export async function serve(name: string): Promise<() => void> {
  const { said, stop } = start(name, 'python3', '-c', SERVER);
  await eventually(() => said.text.includes('ready'), {
    deadlineMs: 10_000,
    what: `the server in ${name} listens`,
  });
  return stop;
}

/** The client's address as the server sees it, and how many of 200,000 bytes came back. Throws where it can't connect. */
export function connect(from: string, to: string, timeoutS = 3, port = TCP_PORT): readonly string[] {
  const out = runIn(from, 'python3', '-c', TCP_CLIENT, to, String(port), String(timeoutS));
  return out.trim().split('\n');
}

/** How many bytes of a datagram come back. */
export function sendDatagram(from: string, to: string, bytes: number, port = UDP_PORT): number {
  return Number(runIn(from, 'python3', '-c', UDP_CLIENT, to, String(bytes), String(port)));
}

/** What a node dropped since it was last asked. */
export function drops(world: TwoNodes, node: string): Drop[] {
  const found: Drop[] = [];
  const take = (record: Buffer) => found.push(decode(dropLayout, record));
  using ring = new RingReader(world.object(node).map(RINGS.drop.name), take);
  while (ring.poll() > 0);
  return found;
}
