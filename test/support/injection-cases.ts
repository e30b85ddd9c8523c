import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments, stringify } from 'yaml';
import type { JsonObject } from '../../common/json.ts';
import type { Injection, InjectionOptions } from '../../injector/patch/inject.ts';

const DIRECTORY = fileURLToPath(new URL('../../injector/patch/golden/', import.meta.url));

/** A pod that somebody may create, with what is to become of it. */
export interface InjectionCase {
  readonly name: string;
  readonly about: string;
  readonly pod: JsonObject;
  readonly options: InjectionOptions;
  /** Whether the pod stays within the restricted Pod Security level. */
  readonly restricted: boolean;
  /** Whether the pod has no sidecar yet, so that what the patch means can be worked out from the pod alone. */
  readonly simulated: boolean;
  readonly expected: unknown;
}

interface Written {
  readonly about: string;
  readonly namespace?: string;
  readonly capture?: InjectionOptions['capture'];
  readonly imagePullPolicy?: InjectionOptions['imagePullPolicy'];
  readonly imagePullSecrets?: readonly string[];
  readonly restricted?: boolean;
  readonly simulated?: boolean;
  readonly pod: JsonObject;
}

export const INJECTION_OPTIONS: InjectionOptions = {
  namespace: 'shop',
  revision: 'default',
  image: 'heddle-proxy:test',
  imagePullPolicy: undefined,
  imagePullSecrets: [],
  controlPlane: 'heddle-control-plane.heddle-system.svc:15012',
  trustDomain: 'cluster.local',
  capture: 'transparent',
};

export function injectionCases(): InjectionCase[] {
  const files = readdirSync(DIRECTORY).filter((file) => file.endsWith('.yaml'));
  return files.sort().map((file) => {
    const [written, expected] = parseAllDocuments(readFileSync(join(DIRECTORY, file), 'utf8')).map(
      (document) => document.toJS() as unknown,
    );
    const { about, pod, restricted = false, simulated = true, ...changed } = written as Written;
    const options = { ...INJECTION_OPTIONS, ...changed };
    return { name: file.slice(0, -'.yaml'.length), about, pod, options, restricted, simulated, expected };
  });
}

/** Writes what injection makes of the pod now below the case that a person wrote. */
export function updateInjectionCase(name: string, injection: Injection): void {
  const file = join(DIRECTORY, `${name}.yaml`);
  const [written = ''] = readFileSync(file, 'utf8').split('---\n', 1);
  writeFileSync(
    file,
    `${written}---\n${stringify(injection, { lineWidth: 0, aliasDuplicateObjects: false })}`,
  );
}
