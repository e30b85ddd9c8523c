import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cgroup2Mounts } from '../../../common/linux.ts';

/** A network namespace that stands for the machine of whoever runs `heddle up`: the world to the mesh in it. */
export class Laptop {
  readonly netns: string;
  /** For meshes that run on it, so that what they leave can be told from everything else. */
  readonly mesh: string;

  constructor(name: string) {
    this.netns = `hdlt-h-${name}`;
    this.mesh = `hdlt-h-${name}`;
    this.close();
    execFileSync('ip', ['netns', 'add', this.netns]);
    this.run('ip', 'link', 'set', 'lo', 'up');
    // A new namespace forwards where the machine does, as it must while a mesh runs on it.
    this.run('sh', '-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward');
  }

  run(command: string, ...args: readonly string[]): string {
    return this.runIn(this.netns, command, ...args);
  }

  runIn(netns: string, command: string, ...args: readonly string[]): string {
    return execFileSync('nsenter', [`--net=/run/netns/${netns}`, '--', command, ...args], {
      encoding: 'utf8',
      timeout: 20_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  curl(url: string, ...options: readonly string[]): string {
    return this.run('curl', '--silent', '--show-error', '--max-time', '5', ...options, url);
  }

  /** What a mesh of this laptop left of it, in words; empty where it left nothing. */
  left(): readonly string[] {
    const links = this.run('ip', '-oneline', 'link', 'show')
      .split('\n')
      .filter((line) => line !== '' && !/^\d+: lo:/.test(line));
    const tables = this.run('nft', 'list', 'tables').split('\n').filter(Boolean);
    const routes = this.run('ip', 'route', 'show').split('\n').filter(Boolean);
    const namespaces = readdirSync('/run/netns').filter((name) => name.startsWith(`heddle-${this.mesh}-`));
    const cgroups = cgroupFolders().filter((folder) => existsSync(folder + this.mesh));
    const run = existsSync(`/run/heddle/${this.mesh}`) ? [`/run/heddle/${this.mesh}`] : [];
    const forwarding = this.run('cat', '/proc/sys/net/ipv4/ip_forward').trim();
    return [
      ...[...links, ...tables, ...routes, ...namespaces, ...cgroups, ...run],
      ...(forwarding === '0' ? [] : ['it still forwards']),
    ];
  }

  close(): void {
    if (existsSync(`/run/netns/${this.netns}`)) execFileSync('ip', ['netns', 'del', this.netns]);
  }
}

function cgroupFolders(): readonly string[] {
  return cgroup2Mounts(readFileSync('/proc/self/mounts', 'utf8')).map((place) => `${place}/heddle/`);
}
