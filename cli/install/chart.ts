import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { HeddleError } from '../../common/errors.ts';
import type { JsonObject } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';

/** The chart that came with this command: beside the sources, and beside the bundles of a package. */
const OWN_CHART = fileURLToPath(new URL('../../charts/heddle', import.meta.url));

/** The folder of the chart. Fails with code `chart` where there is none. */
export function findChart(given: string | undefined, cwd: string): string {
  const folder = given === undefined ? OWN_CHART : resolve(cwd, given);
  if (existsSync(join(folder, 'Chart.yaml'))) return folder;
  throw new HeddleError(
    'chart',
    `${folder} is no Helm chart: give the folder of Heddle's chart with --chart DIR`,
  );
}

export function chartVersion(chart: string): string {
  const { version }: JsonObject = parse(readFileSync(join(chart, 'Chart.yaml'), 'utf8'));
  return String(version);
}

/** Heddle's CustomResourceDefinitions. Helm installs them once and never changes them: an upgrade has to apply them. */
export function chartKinds(chart: string): readonly (KubeObject & JsonObject)[] {
  const folder = join(chart, 'crds');
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name): KubeObject & JsonObject => parse(readFileSync(join(folder, name), 'utf8')));
}

/** The chart's own values. */
export function defaultValues(chart: string): JsonObject {
  const values: JsonObject = parse(readFileSync(join(chart, 'values.yaml'), 'utf8'));
  return values;
}
