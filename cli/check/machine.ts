import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import type { KubeObject } from '../../model/objects.ts';
import { listAt, textAt } from '../kube/fields.ts';
import type { Finding } from './findings.ts';

/** What the watchdog of a local mesh is made of. */
const NEEDED_PROGRAMS: readonly string[] = ['sh', 'sed', 'cut', 'cat', 'rm'];

export interface Machine {
  readonly nodeVersion: string;
  /** The version that package.json pins. */
  readonly pinnedVersion: string | undefined;
  readonly path: string;
  readonly canRun?: (file: string) => boolean;
}

/** Node and the programs that the mesh itself needs. */
export function checkMachine(machine: Machine): readonly Finding[] {
  const findings: Finding[] = [];
  const { nodeVersion, pinnedVersion } = machine;
  const major = (version: string) => version.split('.')[0];
  if (pinnedVersion !== undefined && major(nodeVersion) !== major(pinnedVersion))
    findings.push({
      level: 'problem',
      about: 'Node',
      message: `this is ${nodeVersion}, and Heddle is made for ${pinnedVersion}`,
      remedy: 'start it as ./bin/heddle, which brings its own, or run npm install',
    });
  else findings.push({ level: 'good', about: 'Node', message: nodeVersion });
  const missing = NEEDED_PROGRAMS.filter((name) => !isThere(name, machine));
  if (missing.length > 0)
    findings.push({
      level: 'problem',
      about: 'programs',
      message: `${missing.join(', ')} not found in PATH: a crashed mesh is not cleaned up until the next start`,
      remedy: `install ${missing.join(', ')}`,
    });
  return findings;
}

/** Programs that containers name and this machine doesn't have. */
export function checkCommands(objects: readonly KubeObject[], machine: Machine): readonly Finding[] {
  const users = new Map<string, string>();
  for (const deployment of objects.filter((object) => object.kind === 'Deployment'))
    for (const container of listAt(deployment.spec, 'template', 'spec', 'containers')) {
      const program = textAt(container, 'command', 0);
      if (program === undefined || program.includes('$(') || (program.includes('/') && !isAbsolute(program)))
        continue;
      users.set(program, `${deployment.metadata.namespace ?? 'default'}/${deployment.metadata.name}`);
    }
  return [...users].flatMap(([program, user]): readonly Finding[] =>
    isThere(program, machine)
      ? []
      : [
          {
            level: 'problem',
            about: `deployment ${user}`,
            namespace: user.split('/')[0] ?? '',
            message: `runs "${program}", which this machine doesn't have`,
            remedy: `install ${program}: the local mesh pulls no image`,
          },
        ],
  );
}

function isThere(program: string, { path, canRun = executable }: Machine): boolean {
  if (isAbsolute(program)) return canRun(program);
  return path.split(delimiter).some((folder) => folder !== '' && canRun(join(folder, program)));
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
