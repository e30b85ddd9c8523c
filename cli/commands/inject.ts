import { type Buffer, isUtf8 } from 'node:buffer';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CONTROL_PLANE_ADDRESS, DEFAULT_TRUST_DOMAIN, LABELS } from '../../common/contracts.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { isJsonObject, type JsonValue } from '../../common/json.ts';
import { type Injection, injectPod } from '../../injector/patch/inject.ts';
import type { PatchOperation } from '../../injector/patch/json-patch.ts';
import {
  DEFAULT_SIDECAR_IMAGE,
  isHostPort,
  isImage,
  isPullPolicy,
  isSecretName,
  isTrustDomain,
  PULL_POLICIES,
  type SidecarOptions,
} from '../../injector/patch/sidecar.ts';
import { DEFAULT_REVISION, isRevision, REVISION_FORM, selectionOf } from '../../injector/patch/webhooks.ts';
import { lineOfPath } from '../../sources/files/documents.ts';
import { DEFAULT_FILE_LIMITS } from '../../sources/files/limits.ts';
import { type CommandInput, type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { type Change, changedText, changedValue, cutStream, type Piece } from '../inject/pieces.ts';
import { objectsIn, type PodTemplate, podTemplates } from '../inject/templates.ts';
import { at, textAt, textsAt } from '../kube/fields.ts';

export const inject: CommandSpec = {
  name: 'inject',
  summary: 'add the sidecar to manifests, as the webhook would',
  usage: 'inject -f FILE|DIR|- [-n NAMESPACE] [--revision NAME] [--image IMAGE] [-o yaml|json]',
  description:
    'Prints manifests with the sidecar in every pod and pod template: what the admission webhook would make of them,\nfor clusters without it. Everything else stays as it is written. Says on standard error what became of each pod and why.\nPods that must not be injected are left; where one is refused nothing is printed.',
  examples: [
    'heddle inject -f shop.yaml | kubectl apply -f -',
    'kubectl get deployment web -n shop -o yaml | heddle inject -f - --image registry.example/heddle-proxy:1.0',
  ],
  options: {
    filename: {
      ...{ type: 'string', short: 'f', multiple: true, value: 'FILE' },
      help: 'manifests: a file, a folder of files, or - for standard input; may be given again',
    },
    namespace: { type: 'string', short: 'n', value: 'NAMESPACE', help: 'of objects that name none' },
    revision: {
      type: 'string',
      value: 'NAME',
      help: `inject as this revision (default ${DEFAULT_REVISION})`,
    },
    image: { type: 'string', value: 'IMAGE', help: `of the sidecar (default ${DEFAULT_SIDECAR_IMAGE})` },
    'image-pull-policy': {
      type: 'string',
      value: 'KIND',
      help: `of the sidecar: ${PULL_POLICIES.join(', ')}`,
    },
    'image-pull-secret': {
      ...{ type: 'string', multiple: true, value: 'NAME' },
      help: "of the pods' own namespaces, added to each pod; may be given again",
    },
    'control-plane': {
      ...{ type: 'string', value: 'HOST:PORT' },
      help: `as pods reach it (default ${CONTROL_PLANE_ADDRESS})`,
    },
    'trust-domain': { type: 'string', value: 'NAME', help: `(default ${DEFAULT_TRUST_DOMAIN})` },
    output: { type: 'string', short: 'o', value: 'FORMAT', help: 'yaml (default) or json' },
  },
  positionalsMax: 0,
  run: runInject,
};

/** What became of one pod. */
interface Outcome {
  readonly where: string;
  readonly subject: string;
  readonly injection: Injection;
}

interface Injected {
  readonly piece: Piece;
  readonly changes: readonly Change[];
}

async function runInject(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const format = input.choice('output', ['yaml', 'json'], 'yaml');
  const files = input.texts('filename');
  if (files.length === 0) throw usageError('say what to inject: -f FILE, or -f - for standard input');
  const settings = readSettings(input);
  const streams: { readonly source: string; readonly pieces: readonly Piece[] }[] = [];
  for (const file of files.flatMap((one) => filesOf(one, context)))
    streams.push(await readStream(file, context));
  const namespaces = namespaceLabels(streams.flatMap(({ pieces }) => pieces));
  const outcomes: Outcome[] = [];
  const injected = streams.map(({ source, pieces }) =>
    pieces.map((piece): Injected => {
      const changes: Change[] = [];
      for (const template of podTemplates(piece.value)) {
        const namespace = template.namespace ?? input.text('namespace') ?? 'default';
        const injection = decide(template, namespace, namespaces.get(namespace) ?? {}, settings);
        const line = piece.chunk === undefined ? 1 : lineOfPath(piece.chunk, template.path);
        const subject = `${template.kind} ${namespace}/${template.name}`;
        outcomes.push({ where: `${source}:${line}`, subject, injection });
        if (injection.kind === 'patch') changes.push(changeOf(injection.operations, template, piece.value));
      }
      return { piece, changes };
    }),
  );
  for (const outcome of outcomes) context.err(told(outcome));
  if (outcomes.length === 0) context.err('there are no pods and no pod templates in what was given\n');
  if (outcomes.some(({ injection }) => injection.kind === 'refuse')) {
    context.err('nothing was printed\n');
    return EXIT.failed;
  }
  context.out(format === 'json' ? asJson(injected.flat()) : asYaml(injected));
  return EXIT.done;
}

/** The webhook's pods have metadata, which in a template may be missing. */
function changeOf(operations: readonly PatchOperation[], { path }: PodTemplate, document: JsonValue): Change {
  if (isJsonObject(at(document, ...path, 'metadata'))) return { path, operations };
  return { path, operations: [{ op: 'add', path: '/metadata', value: {} }, ...operations] };
}

interface Settings {
  readonly sidecar: SidecarOptions;
  readonly revision: string;
}

function readSettings(input: CommandInput): Settings {
  const revision = input.text('revision') ?? DEFAULT_REVISION;
  if (!isRevision(revision)) throw usageError(`--revision must be ${REVISION_FORM}`);
  const image = input.text('image') ?? DEFAULT_SIDECAR_IMAGE;
  if (!isImage(image)) throw usageError('--image must be the name of an image');
  const controlPlane = input.text('control-plane') ?? CONTROL_PLANE_ADDRESS;
  if (!isHostPort(controlPlane)) throw usageError('--control-plane must be HOST:PORT');
  const trustDomain = input.text('trust-domain') ?? DEFAULT_TRUST_DOMAIN;
  if (!isTrustDomain(trustDomain))
    throw usageError('--trust-domain must be a name of lower-case letters, digits and .-_');
  const imagePullPolicy = input.text('image-pull-policy');
  if (imagePullPolicy !== undefined && !isPullPolicy(imagePullPolicy))
    throw usageError(`--image-pull-policy must be ${PULL_POLICIES.join(', ')}`);
  const imagePullSecrets = input.texts('image-pull-secret');
  if (!imagePullSecrets.every(isSecretName))
    throw usageError('--image-pull-secret must be the name of a Secret');
  const pull = { image, imagePullPolicy, imagePullSecrets };
  return { revision, sidecar: { ...pull, controlPlane, trustDomain, capture: 'transparent' } };
}

/**
 * As the webhook: whoever runs the command asks for the sidecar, so that a namespace counts as labelled unless its own
 * manifest is given and says otherwise.
 */
function decide(
  { pod, kind, known, workload }: PodTemplate,
  namespace: string,
  given: Readonly<Record<string, string>>,
  { sidecar, revision }: Settings,
): Injection {
  if (!known) {
    const reason = `what becomes of a ${kind} only its controller knows: label the namespace, so that its pods are injected when they are created`;
    return { kind: 'skip', reason, warnings: [] };
  }
  const says = given[LABELS.inject] !== undefined || given[LABELS.revision] !== undefined;
  const labels = says ? given : { [LABELS.revision]: revision };
  const selection = selectionOf(namespace, labels, textsAt(pod, 'metadata', 'labels'));
  if (!selection.selected) return { kind: 'skip', reason: selection.reason, warnings: [] };
  if (selection.revision !== revision) {
    const reason = `it belongs to revision ${selection.revision}, and this is ${revision}`;
    return { kind: 'skip', reason, warnings: [] };
  }
  return injectPod(pod, { ...sidecar, namespace, revision, workload });
}

function namespaceLabels(pieces: readonly Piece[]): ReadonlyMap<string, Readonly<Record<string, string>>> {
  return new Map(
    pieces
      .flatMap(({ value }) => objectsIn(value))
      .filter(({ object }) => textAt(object, 'kind') === 'Namespace')
      .map(({ object }) => [textAt(object, 'metadata', 'name') ?? '', textsAt(object, 'metadata', 'labels')]),
  );
}

async function readStream(file: string, context: CliContext) {
  const source = file === '-' ? 'standard input' : file;
  try {
    const text = file === '-' ? await context.readStdin() : utf8(readFileSync(resolve(context.cwd, file)));
    return { source, pieces: cutStream(text, source) };
  } catch (thrown) {
    if (thrown instanceof HeddleError) throw thrown;
    throw new HeddleError('file', `${source}: ${messageOf(thrown)}`);
  }
}

/** Read otherwise, other texts would be printed with their characters lost. */
function utf8(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new Error('is not text in UTF-8');
  return bytes.toString('utf8');
}

/** A file itself; of a folder the manifests in it, by name, as kubectl takes them. */
function filesOf(file: string, { cwd }: CliContext): readonly string[] {
  if (file === '-' || statSync(resolve(cwd, file), { throwIfNoEntry: false })?.isDirectory() !== true)
    return [file];
  const found = readdirSync(resolve(cwd, file), { withFileTypes: true })
    .filter((entry) => /\.(ya?ml|json)$/.test(entry.name) && !entry.isDirectory())
    .map(({ name }) => join(file, name))
    .sort();
  const { filesMax } = DEFAULT_FILE_LIMITS;
  if (found.length === 0) throw new HeddleError('file', `${file}: holds no .yaml, .yml or .json file`);
  if (found.length > filesMax) throw new HeddleError('file', `${file}: more than ${filesMax} files`);
  return found;
}

function told({ where, subject, injection }: Outcome): string {
  const line = (what: string) => `${where}: ${subject}: ${what}\n`;
  switch (injection.kind) {
    case 'patch':
      return [line('injected'), ...injection.warnings.map((warning) => line(`warning: ${warning}`))].join('');
    case 'skip':
      return line(`not injected: ${injection.reason}`);
    case 'refuse':
      return line(`refused: ${injection.message}`);
    default:
      return injection satisfies never;
  }
}

/** One stream of all: documents of one file have their markers, those of the next begin with one. */
function asYaml(streams: readonly (readonly Injected[])[]): string {
  return streams
    .map((stream) => stream.map(({ piece, changes }) => changedText(piece, changes)).join(''))
    .map((text) => (text === '' || text.endsWith('\n') ? text : `${text}\n`))
    .map((text, index) => (index === 0 || text.startsWith('---') ? text : `---\n${text}`))
    .join('');
}

function asJson(injected: readonly Injected[]): string {
  const items = injected
    .filter(({ piece }) => piece.value !== null)
    .map(({ piece, changes }) => changedValue(piece, changes));
  const [only] = items;
  const shown = items.length === 1 ? only : { apiVersion: 'v1', kind: 'List', items };
  return `${JSON.stringify(shown, undefined, 2)}\n`;
}
