import { HeddleError } from '../../common/errors.ts';
import type { JsonValue } from '../../common/json.ts';
import { ask } from '../client/mesh.ts';
import { ANY_MESH_OPTIONS, type Mesh, withMesh } from '../client/which.ts';
import { type CommandInput, type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { at, listAt, numberAt, textAt } from '../kube/fields.ts';
import { palette } from '../output/colour.ts';
import { formatAge, formatTable } from '../output/table.ts';
import { formatMicroseconds, formatWaterfall, rowsOf } from '../output/waterfall.ts';

const DEFAULT_LIMIT = 20;
const limitMax = 1_500;
/** Whose ids may be given by their starts: the latest. */
const idsKnownMax = 500;
/** Longer requests are cut in the list. */
const requestColumnsMax = 60;

export const traces: CommandSpec = {
  name: 'traces',
  summary: 'list traces, or show one as a waterfall',
  usage: 'traces [ID] [--service NAME] [--errors] [--limit N] [-o json]',
  description: `Lists the latest traces; with an id shows that one as a waterfall, with attempts and what the mesh decided.\nThe start of an id is enough where it means one of the latest ${idsKnownMax} traces only.`,
  examples: ['heddle traces', 'heddle traces --service web --errors', 'heddle traces 4bf92f35'],
  options: {
    ...ANY_MESH_OPTIONS,
    service: { type: 'string', value: 'NAME', help: 'only traces that this service took part in' },
    errors: { type: 'boolean', help: 'only traces with an error' },
    limit: { type: 'string', value: 'N', help: `how many (default ${DEFAULT_LIMIT})` },
    output: { type: 'string', short: 'o', value: 'FORMAT', help: 'json' },
  },
  positionalsMax: 1,
  run: runTraces,
};

async function runTraces(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const json = input.choice('output', ['table', 'json'], 'table') === 'json';
  const limit = input.number('limit', 1, limitMax) ?? DEFAULT_LIMIT;
  const [id] = input.positionals;
  if (id !== undefined && !/^[0-9a-fA-F]{1,32}$/.test(id))
    throw usageError(`a trace id is 1 to 32 hexadecimal digits, not "${id}"`);
  return withMesh(input, context, async (mesh) => {
    if (id === undefined) {
      const answer = await latest(mesh, limit, input);
      for (const one of listAt(answer, 'missing'))
        warn(
          context,
          `the traces of replica ${textAt(one, 'replica')} are missing: ${textAt(one, 'message')}`,
        );
      return list(listAt(answer, 'items'), context, json);
    }
    return showOne(mesh, await wholeId(mesh, id.toLowerCase()), context, json);
  });
}

function list(items: readonly JsonValue[], context: CliContext, json: boolean): ExitCode {
  if (json) context.out(`${JSON.stringify({ items }, undefined, 2)}\n`);
  else if (items.length === 0) context.err('No traces found: send a request through the mesh first.\n');
  else context.out(traceTable(items, context.clock.wallMs()));
  return EXIT.done;
}

function warn(context: CliContext, text: string): void {
  context.err(`heddle traces: ${text}\n`);
}

/** Of all replicas, whichever answers. */
function latest(mesh: Mesh, limit: number, input?: CommandInput): Promise<JsonValue> {
  const query = new URLSearchParams({ limit: String(limit) });
  const service = input?.text('service');
  if (service !== undefined) query.set('service', service);
  if (input?.flag('errors')) query.set('errors', '1');
  return ask(mesh, `/api/heddle/traces?${query}`);
}

function traceTable(items: readonly JsonValue[], nowMs: number): string {
  const rows = items.map((item) => [
    textAt(item, 'traceId') ?? '',
    formatAge(nowMs - (numberAt(item, 'startUs') ?? 0) / 1_000),
    formatMicroseconds(numberAt(item, 'durationUs') ?? 0),
    textAt(item, 'status') ?? (at(item, 'failed') === true ? 'error' : '-'),
    String(numberAt(item, 'spans') ?? 0),
    String(numberAt(item, 'retries') ?? 0),
    String(numberAt(item, 'errors') ?? 0),
    `${textAt(item, 'rootService') ?? ''}: ${textAt(item, 'rootOperation') ?? ''}`.slice(
      0,
      requestColumnsMax,
    ),
  ]);
  return formatTable(['TRACE', 'AGE', 'TOOK', 'STATUS', 'SPANS', 'RETRIES', 'ERRORS', 'REQUEST'], rows);
}

/** The id that `start` begins, of the latest traces; itself where none of them does. */
async function wholeId(mesh: Mesh, start: string): Promise<string> {
  if (start.length >= 16) return start;
  const found = listAt(await latest(mesh, idsKnownMax), 'items');
  const ids = found.map((item) => textAt(item, 'traceId') ?? '');
  const matches = ids.filter((id) => id.startsWith(start));
  if (matches.length > 1)
    throw new HeddleError('ambiguous', `${matches.length} traces begin with "${start}": give more of the id`);
  return matches[0] ?? start;
}

async function showOne(mesh: Mesh, id: string, context: CliContext, json: boolean): Promise<ExitCode> {
  const answer = await ask(mesh, `/api/traces/${id}`);
  for (const error of listAt(answer, 'errors')) warn(context, textAt(error, 'msg') ?? '');
  if (json) {
    context.out(`${JSON.stringify(answer, undefined, 2)}\n`);
    return EXIT.done;
  }
  const trace = at(answer, 'data', 0) ?? null;
  const rows = rowsOf(trace);
  const dashboard = mesh.kind === 'local' ? mesh.file.dashboard : 'heddle dashboard, then ';
  const paint = palette(context.colours);
  const view = { palette: paint, columns: context.columns, signs: context.terminal };
  const startMs = Math.min(...rows.map((row) => row.startUs)) / 1_000;
  const failed = rows.filter((row) => row.failed && !row.copy).length;
  const errors = failed === 0 ? '' : `, ${failed} with an error`;
  context.out(
    `${paint.bold(`trace ${textAt(trace, 'traceID') ?? id}`)}  ${new Date(startMs).toISOString()}  ${rows.length} spans${errors}\n\n`,
  );
  context.out(formatWaterfall(rows, view));
  context.out(
    `\nWhy it went this way: heddle explain --trace ${id}\nOn the dashboard: ${dashboard}/traces/${id}\n`,
  );
  return EXIT.done;
}
