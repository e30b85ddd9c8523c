import { HeddleError } from '../../common/errors.ts';
import type { JsonValue } from '../../common/json.ts';
import { at, textAt } from '../kube/fields.ts';
import { expandVariables, rewriteMountPath } from './expansion.ts';
import type { ContainerSpec } from './pod-spec.ts';
import type { VolumeSources } from './volumes.ts';

export interface EnvironmentInput {
  readonly container: ContainerSpec;
  /** What every program needs of the machine: PATH, HOME and the like. */
  readonly machine: Readonly<Record<string, string>>;
  /** What the network says; below the container's own values. */
  readonly network: Readonly<Record<string, string>>;
  /** What the runner insists on; above the container's own values. */
  readonly forced: Readonly<Record<string, string>>;
  readonly sources: Pick<VolumeSources, 'configMap' | 'field'>;
  readonly mounts: ReadonlyMap<string, string>;
}

export interface CommandLine {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** The process that stands for a container. Fails with code `container-config` where its spec can't be met. */
export function commandLineOf(input: EnvironmentInput): CommandLine {
  const env = environmentOf(input);
  const words = [...input.container.command, ...input.container.args].map((word) =>
    rewriteMountPath(expandVariables(word, env), input.mounts),
  );
  const [command, ...args] = words;
  if (input.container.command.length === 0 || command === undefined)
    throw new HeddleError(
      'container-config',
      `container ${input.container.name} has no command: the local mesh pulls no image, so the manifest must say what to run`,
    );
  return { command, args, env };
}

export function environmentOf(input: EnvironmentInput): Readonly<Record<string, string>> {
  const env: Record<string, string> = { ...input.machine, ...input.network };
  for (const source of input.container.envFrom) Object.assign(env, fromSource(source, input));
  for (const entry of input.container.env) {
    const name = textAt(entry, 'name') ?? '';
    const value = variableValue(entry, name, env, input);
    if (value !== undefined) env[name] = rewriteMountPath(value, input.mounts);
  }
  return { ...env, ...input.forced };
}

function fromSource(source: JsonValue, input: EnvironmentInput): Readonly<Record<string, string>> {
  const name = textAt(source, 'configMapRef', 'name');
  if (name === undefined)
    throw unsupported(input, 'envFrom takes configMapRef only; Secrets are not supported');
  const data = input.sources.configMap(name);
  if (data === undefined) {
    if (at(source, 'configMapRef', 'optional') === true) return {};
    throw unsupported(input, `ConfigMap "${name}" doesn't exist`);
  }
  const prefix = textAt(source, 'prefix') ?? '';
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [`${prefix}${key}`, value]));
}

function variableValue(
  entry: JsonValue,
  name: string,
  env: Readonly<Record<string, string>>,
  input: EnvironmentInput,
): string | undefined {
  const from = at(entry, 'valueFrom');
  if (from === undefined) return expandVariables(textAt(entry, 'value') ?? '', env);
  const path = textAt(from, 'fieldRef', 'fieldPath');
  if (path !== undefined) {
    const value = input.sources.field(path);
    if (value === undefined) throw unsupported(input, `${name}: the field "${path}" can't be given`);
    return value;
  }
  const reference = at(from, 'configMapKeyRef');
  if (reference === undefined)
    throw unsupported(
      input,
      `${name}: valueFrom takes fieldRef and configMapKeyRef only; Secrets are not supported`,
    );
  const [map, key] = [textAt(reference, 'name') ?? '', textAt(reference, 'key') ?? ''];
  const value = input.sources.configMap(map)?.[key];
  if (value === undefined && at(reference, 'optional') !== true)
    throw unsupported(input, `${name}: ConfigMap "${map}" has no key "${key}"`);
  return value;
}

function unsupported(input: EnvironmentInput, message: string): HeddleError {
  return new HeddleError('container-config', `container ${input.container.name}: ${message}`);
}
