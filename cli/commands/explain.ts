import { HeddleError } from '../../common/errors.ts';
import { isJsonObject, type JsonValue } from '../../common/json.ts';
import { ask, objectsInForce } from '../client/mesh.ts';
import { settingsOf } from '../client/settings.ts';
import { sourcePod } from '../client/source-pod.ts';
import { isOutside, unknownHost } from '../client/unknown-host.ts';
import { ANY_MESH_OPTIONS, type Mesh, withMesh } from '../client/which.ts';
import { type CommandInput, type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { palette } from '../output/colour.ts';
import { type ExplainAnswer, formatExplanation } from '../output/explanation.ts';

const METHOD = /^[A-Za-z!#$%&'*+.^_`|~0-9-]{1,32}$/;
const HEADER_NAME = /^[A-Za-z!#$%&'*+.^_`|~0-9-]+$/;

export const explain: CommandSpec = {
  name: 'explain',
  summary: 'say where a request would go, and why',
  usage: 'explain --from NAMESPACE/POD URL [-X METHOD] [-H "NAME: VALUE"]… [-o json] | explain --trace ID',
  description:
    'Says where a request would go now and why: each rule tried, backend, endpoint, timeouts, retries, breaker.\nNothing is sent. The live state of the sidecar decides, with the code that decides about real requests.',
  examples: [
    'heddle explain --from shop/web http://catalog/items -H "x-user: beta"',
    'heddle explain --from shop/web -X POST http://payments/pay -o json',
    'heddle explain --trace 4bf92f3577b34da6a3ce929d0e0e4736',
  ],
  options: {
    ...ANY_MESH_OPTIONS,
    from: { type: 'string', value: 'NAMESPACE/POD', help: 'who asks: a pod, or the name of its Deployment' },
    request: { type: 'string', short: 'X', value: 'METHOD', help: 'method (default GET)' },
    header: {
      type: 'string',
      short: 'H',
      multiple: true,
      value: '"NAME: VALUE"',
      help: 'a request header; may be given again',
    },
    trace: { type: 'string', value: 'ID', help: 'explain the request of a trace instead' },
    output: { type: 'string', short: 'o', value: 'FORMAT', help: 'json' },
  },
  positionalsMax: 1,
  run: runExplain,
};

async function runExplain(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const format = input.choice('output', ['text', 'json'], 'text');
  const headers = input.texts('header').map(parseHeader);
  const trace = input.text('trace');
  const answer =
    trace === undefined
      ? await explainRequest(input, context, headers)
      : await explainTrace(trace, input, context);
  if (format === 'json') context.out(`${JSON.stringify(answer, undefined, 2)}\n`);
  else
    context.out(
      formatExplanation(answer, {
        palette: palette(context.colours),
        signs: context.terminal,
        headers,
      }),
    );
  return EXIT.done;
}

async function explainTrace(trace: string, input: CommandInput, context: CliContext): Promise<ExplainAnswer> {
  if (input.positionals.length > 0 || input.text('from') !== undefined)
    throw usageError('--trace explains the request of that trace: leave out --from and URL');
  if (!/^[0-9a-fA-F]{1,32}$/.test(trace))
    throw usageError(`a trace id is 1 to 32 hexadecimal digits, not "${trace}"; "heddle traces" lists them`);
  return withMesh(input, context, async (mesh) =>
    answerOf(await ask(mesh, `/api/heddle/explain?trace=${trace}`)),
  );
}

async function explainRequest(
  input: CommandInput,
  context: CliContext,
  headers: readonly (readonly [string, string])[],
): Promise<ExplainAnswer> {
  const [text] = input.positionals;
  const from = input.text('from');
  if (text === undefined) throw usageError('say which URL, for example http://catalog/items');
  if (from === undefined) throw usageError('say who asks: --from NAMESPACE/POD');
  const url = parseUrl(text);
  const method = input.text('request') ?? 'GET';
  if (!METHOD.test(method)) throw usageError(`"${method}" is not a method`);
  return withMesh(input, context, async (mesh) => {
    const objects = await objectsInForce(mesh);
    const { namespace, pod } = sourcePod(from, objects);
    const answer = answerOf(
      await ask(mesh, '/api/heddle/explain', {
        from: { namespace, ...(pod === undefined ? {} : { name: pod }) },
        ...{ url: url.href, method: method.toUpperCase(), headers: headers.map((header) => [...header]) },
      }),
    );
    if (answer.answer?.code !== 'unknown-destination') return answer;
    if (!isOutside(url.hostname, namespace, objects)) throw unknownHost(url, namespace, objects);
    return { ...answer, answer: { ...answer.answer, message: await outsideText(url, mesh) } };
  });
}

/** What becomes of requests to the world outside: the mesh's settings say. */
async function outsideText(url: URL, mesh: Mesh): Promise<string> {
  const { outboundUnknown: setting } = await settingsOf(mesh);
  const what =
    setting === 'ALLOW'
      ? 'requests pass through as they are, without routes, retries or breakers'
      : 'requests are refused';
  return `${url.hostname} is outside the mesh: ${what} (outbound.unknown in mesh.yaml: ${setting})`;
}

function parseUrl(text: string): URL {
  const given = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url === undefined || url.hostname === '')
    throw usageError(`"${text}" is not a URL such as http://catalog/items`);
  if (url.protocol !== 'http:')
    throw usageError(
      `${url.protocol}// can't be explained: the mesh reads HTTP in plaintext only, an app's own TLS passes through it`,
    );
  return url;
}

function parseHeader(text: string): readonly [string, string] {
  const colon = text.indexOf(':');
  const name = text.slice(0, Math.max(0, colon)).trim();
  if (!HEADER_NAME.test(name)) throw usageError(`a header is "NAME: VALUE", not "${text}"`);
  return [name.toLowerCase(), text.slice(colon + 1).trim()];
}

function answerOf(answer: JsonValue): ExplainAnswer {
  if (!isJsonObject(answer) || !Array.isArray(answer.reasons))
    throw new HeddleError('api', 'the control plane answered without a decision');
  return answer as unknown as ExplainAnswer;
}
