import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { HeddleError } from '../../common/errors.ts';
import type { KubeAccess } from '../client/kubernetes.ts';
import type { CommandInput, OptionSpec } from '../command-line.ts';
import type { CliContext } from '../context.ts';
import { type Host, machineHost } from '../network/host.ts';

export const HELM_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  helm: { type: 'string', value: 'FILE', help: 'the helm program (default: the one in PATH)' },
};

/** Longer than any `--timeout` that --wait may be given. */
const HELM_TIMEOUT_MS = 65 * 60_000;

/** Helm, on one cluster. */
export interface Helm {
  /** What it printed. Fails with code `helm` and its own words. */
  run(args: readonly string[]): Promise<string>;
}

/** Fails with code `helm` where there is none. Nothing is run yet. */
export function findHelm(input: CommandInput, { env, cwd }: CliContext): string {
  const given = input.text('helm');
  if (given !== undefined) {
    const file = isAbsolute(given) ? given : resolve(cwd, given);
    if (isExecutable(file)) return file;
    throw new HeddleError('helm', `--helm ${given}: ${file} is no program that can be run`);
  }
  const folders = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const found = folders.map((folder) => join(folder, 'helm')).find(isExecutable);
  if (found !== undefined) return found;
  throw new HeddleError(
    'helm',
    'there is no helm in PATH: install Helm 3.14 or newer, or say where it is with --helm FILE',
  );
}

export function helmOn(
  program: string,
  access: KubeAccess,
  context: CliContext,
  host: Host = machineHost(context.clock, context.env.PATH ?? ''),
): Helm {
  const own = [
    '--kubeconfig',
    access.kubeconfig,
    ...(access.context === undefined ? [] : ['--kube-context', access.context]),
  ];
  return {
    async run(args) {
      const options = { env: definedOnly(context.env), timeoutMs: HELM_TIMEOUT_MS };
      const { code, out, err } = await host.run(program, [...args, ...own], options);
      if (code === 0) return out;
      throw new HeddleError('helm', `helm ${args[0]}: ${(err || out).trim() || `exit code ${code}`}`);
    },
  };
}

/** Adds what to do to a refusal that Helm words for itself. */
export async function explained(run: Promise<string>, words: RegExp, remedy: string): Promise<string> {
  try {
    return await run;
  } catch (thrown) {
    if (thrown instanceof HeddleError && words.test(thrown.message))
      throw new HeddleError(thrown.code, `${thrown.message}\n${remedy}`, { cause: thrown });
    throw thrown;
  }
}

/** Proxies, plug-ins and credentials of clouds come by the environment. */
function definedOnly(env: CliContext['env']): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
