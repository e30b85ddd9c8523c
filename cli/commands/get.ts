import type { KubeObject } from '../../model/objects.ts';
import { yamlText } from '../../sources/files/dialect.ts';
import { objectsInForce } from '../client/mesh.ts';
import { ANY_MESH_OPTIONS, withMesh } from '../client/which.ts';
import type { CommandInput, CommandSpec } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { KINDS, type Kind, resourceName } from '../kube/kinds.ts';
import { columnsOf } from '../output/columns.ts';
import { formatTable } from '../output/table.ts';
import { notFound, wantedOf } from './wanted.ts';

const FORMATS = ['table', 'wide', 'yaml', 'json', 'name'];

export const get: CommandSpec = {
  name: 'get',
  summary: 'show objects',
  usage: 'get KIND[/NAME] [NAME] [-n NAMESPACE | -A] [-o wide|yaml|json|name]',
  description: `Shows objects of the running mesh with their status.\nKinds: ${KINDS.map((kind) => kind.plural).join(', ')}; "all" for workloads and Services.`,
  examples: ['heddle get pods -A', 'heddle get httproute catalog -n shop -o yaml', 'heddle get svc -n shop'],
  options: {
    ...ANY_MESH_OPTIONS,
    namespace: {
      type: 'string',
      short: 'n',
      value: 'NAMESPACE',
      help: 'of this namespace (default "default")',
    },
    'all-namespaces': { type: 'boolean', short: 'A', help: 'of all namespaces' },
    output: { type: 'string', short: 'o', value: 'FORMAT', help: 'wide, yaml, json or name' },
  },
  positionalsMax: 2,
  run: runGet,
};

async function runGet(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const format = input.choice('output', FORMATS, 'table');
  const { kinds, name } = wantedOf(input.positionals);
  const everywhere = input.flag('all-namespaces');
  const namespace = input.text('namespace') ?? 'default';
  const all = await withMesh(input, context, objectsInForce);
  const found = kinds.map((kind) => ({
    kind,
    objects: all
      .filter((object) => object.kind === kind.kind && (name === undefined || object.metadata.name === name))
      .filter(
        (object) => everywhere || !kind.namespaced || (object.metadata.namespace ?? 'default') === namespace,
      )
      .toSorted((a, b) => order(a).localeCompare(order(b))),
  }));
  const objects = found.flatMap((entry) => entry.objects);
  const [firstKind] = kinds;
  if (name !== undefined && objects.length === 0 && firstKind !== undefined)
    throw notFound(firstKind, name, namespace, all);
  if (format === 'json' || format === 'yaml') context.out(structured(objects, name !== undefined, format));
  else if (format === 'name') context.out(objects.map((object) => `${resourceName(object)}\n`).join(''));
  else if (objects.length === 0)
    context.err(everywhere ? 'No resources found\n' : `No resources found in ${namespace} namespace.\n`);
  else context.out(tables(found, { everywhere, wide: format === 'wide', nowMs: context.clock.wallMs() }));
  return EXIT.done;
}

function structured(objects: readonly KubeObject[], single: boolean, format: 'json' | 'yaml'): string {
  const [first] = objects;
  const value =
    single && objects.length === 1 && first !== undefined
      ? first
      : { apiVersion: 'v1', kind: 'List', items: objects };
  return format === 'json' ? `${JSON.stringify(value, undefined, 2)}\n` : yamlText(value);
}

function tables(
  found: readonly { kind: Kind; objects: readonly KubeObject[] }[],
  view: { everywhere: boolean; wide: boolean; nowMs: number },
): string {
  const shown = found.filter((entry) => entry.objects.length > 0);
  return shown
    .map(({ kind, objects }) => {
      const columns = columnsOf(kind.kind).filter((column) => view.wide || column.wide !== true);
      const namespaced = view.everywhere && kind.namespaced;
      const rows = objects.map((object) => [
        ...(namespaced ? [object.metadata.namespace ?? 'default'] : []),
        ...columns.map((column, index) => {
          const text = column.value(object, view.nowMs);
          return index === 0 && shown.length > 1 ? `${kind.singular}/${text}` : text;
        }),
      ]);
      return formatTable(
        [...(namespaced ? ['NAMESPACE'] : []), ...columns.map((column) => column.title)],
        rows,
      );
    })
    .join('\n');
}

function order(object: KubeObject): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}
