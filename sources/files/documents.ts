import {
  type Document,
  type DocumentOptions,
  isAlias,
  isMap,
  isScalar,
  LineCounter,
  type Node,
  type ParseOptions,
  parseDocument,
  type SchemaOptions,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import { messageOf } from '../../common/errors.ts';
import { isOlderBoolean, kubectlTags } from './dialect.ts';
import type { FileLimits } from './limits.ts';
import { valueFault } from './values.ts';

/** A part of a file between `---` lines. */
export interface Chunk {
  readonly text: string;
  /** Of its first line in the file, from 1. */
  readonly line: number;
}

/**
 * Cuts a YAML stream at its `---` lines, so that a document that doesn't parse can't take its neighbours with it. (In
 * YAML a line that starts with `---` always ends a document: YAML 1.2.2, section 9.1.4.) Directives (`%YAML 1.2`) are
 * left out: every document is read as kubectl reads it, and tags mean nothing to Kubernetes.
 */
export function splitDocuments(text: string): Chunk[] {
  const chunks: Chunk[] = [];
  let lines: string[] = [];
  let first = 1;
  let number = 0;
  const close = () => {
    if (lines.some(saysSomething)) chunks.push({ text: lines.join('\n'), line: first });
    lines = [];
  };
  for (const line of text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/)) {
    number++;
    if (/^---(\s|$)/.test(line)) {
      if (lines.every((one) => !saysSomething(one) || one.startsWith('%'))) lines = [];
      close();
      first = number;
      // What follows the marker on its line belongs to the document; blanks keep the columns true.
      lines.push(`   ${line.slice(3)}`);
    } else if (/^\.\.\.(\s|$)/.test(line)) {
      close();
      first = number + 1;
    } else {
      lines.push(line);
    }
  }
  close();
  return chunks;
}

function saysSomething(line: string): boolean {
  const text = line.trimStart();
  return text !== '' && !text.startsWith('#');
}

export type ParsedChunk =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly line: number; readonly message: string };

const OPTIONS: ParseOptions & DocumentOptions & SchemaOptions = {
  version: '1.2',
  schema: 'core',
  customTags: kubectlTags,
  // As kubectl has them: `<<: *defaults`.
  merge: true,
  strict: true,
  // Looked for below, in time that grows with the keys and not with their square.
  uniqueKeys: false,
  prettyErrors: false,
  logLevel: 'silent',
};

/** One document as plain values, or where and why it isn't one. */
export function parseChunk(chunk: Chunk, limits: FileLimits): ParsedChunk {
  const refuse = (line: number, message: string): ParsedChunk => ({ ok: false, line, message });
  try {
    const { document, lineAt } = read(chunk);
    // A warning is something that the parser has passed over, such as a tag it doesn't know.
    const error = document.errors[0] ?? document.warnings[0];
    if (error !== undefined) {
      return refuse(lineAt(offsetOfError(chunk, document, error)), inWords(error.message));
    }
    nameFields(document);
    const structure = structureFault(document);
    if (structure !== undefined) return refuse(lineAt(structure.offset), structure.message);
    const value: unknown = document.toJS({ maxAliasCount: limits.aliasesMax });
    const fault = valueFault(value, limits);
    return fault === undefined ? { ok: true, value } : refuse(lineOfPath(chunk, fault.path), fault.message);
  } catch (thrown) {
    // Alias bombs end here, and nesting that exhausts the parser's own stack.
    return refuse(firstLine(chunk), inWords(messageOf(thrown)));
  }
}

/** The parser's words, but for those that only a programmer of it would understand. */
function inWords(message: string): string {
  if (/call stack/i.test(message)) return 'the document is nested too deep to be read';
  if (/excessive alias count/i.test(message)) {
    return 'the document would grow out of bounds with its aliases written out: use fewer of them';
  }
  return message;
}

interface Read {
  readonly chunk: Chunk;
  readonly document: Document.Parsed;
  readonly lineAt: (offset: number) => number;
}

/** The document that was asked about last: questions come in bursts, and an object may ask for the line of each field. */
let last: WeakRef<Read> | undefined;

function read(chunk: Chunk): Read {
  const known = last?.deref();
  if (known?.chunk === chunk) return known;
  const counter = new LineCounter();
  const document = parseDocument(chunk.text, { ...OPTIONS, lineCounter: counter });
  const made = { chunk, document, lineAt: (offset: number) => chunk.line + counter.linePos(offset).line - 1 };
  last = new WeakRef(made);
  return made;
}

interface Fault {
  readonly offset: number;
  readonly message: string;
}

/** What the parser lets pass: a key that stands in a map twice, an alias of an anchor that isn't there. */
function structureFault(document: Document.Parsed): Fault | undefined {
  const anchors = new Set<string>();
  let fault: Fault | undefined;
  visit(document, {
    Node(_key, node) {
      if (isAlias(node)) {
        if (!anchors.has(node.source)) {
          fault = { offset: offsetOf(node), message: `there is no anchor &${node.source} before this alias` };
        }
      } else if (node.anchor !== undefined) anchors.add(node.anchor);
      if (isMap(node)) fault ??= repeatedKey(node);
      return fault === undefined ? undefined : visit.BREAK;
    },
  });
  return fault;
}

/** Keys are names of fields, as `on` of a TrafficPolicy's retry: to kubectl it is `true` unless it is quoted, which nobody means. */
function nameFields(document: Document.Parsed): void {
  visit(document, {
    Pair(_key, { key }) {
      if (isScalar(key) && isOlderBoolean(key)) key.value = key.source;
    },
  });
}

function repeatedKey({ items }: YAMLMap): Fault | undefined {
  const seen = new Set<string>();
  for (const { key } of items) {
    if (!isScalar(key)) continue;
    const text = String(key.value);
    if (seen.has(text) && text !== '<<') {
      return { offset: offsetOf(key), message: `the key ${text} stands here twice` };
    }
    seen.add(text);
  }
  return undefined;
}

/** Where a person looks for an error: a quote that is never closed at its beginning, and nothing behind the last word. */
function offsetOfError(chunk: Chunk, document: Document.Parsed, { code, pos }: YAMLError): number {
  let opening: number | undefined;
  if (code === 'MISSING_CHAR') {
    visit(document, {
      Scalar(_key, node) {
        const isQuoted = node.type === 'QUOTE_DOUBLE' || node.type === 'QUOTE_SINGLE';
        const [start, end] = node.range ?? [0, 0];
        if (isQuoted && start < pos[0] && end >= pos[0]) opening = start;
      },
    });
  }
  return opening ?? Math.min(pos[0], chunk.text.trimEnd().length - 1);
}

/** The line of a field; its nearest parent's where it is absent. */
export function lineOfPath(chunk: Chunk, path: readonly (string | number)[]): number {
  try {
    const { document, lineAt } = read(chunk);
    for (let length = path.length; length > 0; length--) {
      const offset = offsetAt(document, path.slice(0, length));
      if (offset !== undefined) return lineAt(offset);
    }
  } catch {
    // What can't be parsed has no fields.
  }
  return firstLine(chunk);
}

function offsetAt(document: Document.Parsed, path: readonly (string | number)[]): number | undefined {
  const name = path.at(-1);
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (isMap(parent)) {
    const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === String(name));
    return isScalar(pair?.key) ? offsetOf(pair.key) : undefined;
  }
  const node = document.getIn(path, true);
  return typeof node === 'object' && node !== null && 'range' in node ? offsetOf(node as Node) : undefined;
}

function offsetOf(node: Node): number {
  return node.range?.[0] ?? 0;
}

/** The first line of a chunk that says something. */
export function firstLine(chunk: Chunk): number {
  return chunk.line + Math.max(0, chunk.text.split('\n').findIndex(saysSomething));
}
