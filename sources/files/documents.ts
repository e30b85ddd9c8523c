import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { messageOf } from '../../common/errors.ts';
import type { FileLimits } from './limits.ts';

/** A part of a file between `---` lines. */
export interface Chunk {
  readonly text: string;
  /** Of its first line in the file, from 1. */
  readonly line: number;
}

/**
 * Cuts a YAML stream at its `---` lines, so that a document that doesn't parse can't take its neighbours with it. (In
 * YAML a line that starts with `---` always ends a document: YAML 1.2.2, section 9.1.4.)
 */
export function splitDocuments(text: string): Chunk[] {
  const chunks: Chunk[] = [];
  let lines: string[] = [];
  let first = 1;
  let number = 0;
  const close = () => {
    if (lines.some((line) => line.trim() !== '' && !line.trimStart().startsWith('#'))) {
      chunks.push({ text: lines.join('\n'), line: first });
    }
    lines = [];
  };
  for (const line of text.split(/\r?\n/)) {
    number++;
    if (/^---(\s|$)/.test(line)) {
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

export type ParsedChunk =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly line: number; readonly message: string };

const OPTIONS = {
  version: '1.2',
  schema: 'core',
  strict: true,
  uniqueKeys: true,
  prettyErrors: false,
  logLevel: 'silent',
} as const;

/** One document as plain values, or where and why it isn't one. */
export function parseChunk(chunk: Chunk, limits: FileLimits): ParsedChunk {
  const counter = new LineCounter();
  try {
    const document = parseDocument(chunk.text, { ...OPTIONS, lineCounter: counter });
    const [error] = document.errors;
    if (error !== undefined) {
      const { line } = counter.linePos(error.pos[0]);
      return { ok: false, line: chunk.line + line - 1, message: error.message };
    }
    const value: unknown = document.toJS({ maxAliasCount: limits.aliasesMax });
    if (tooDeep(value, limits.nestingDepthMax)) {
      return {
        ok: false,
        line: chunk.line,
        message: `nested more than ${limits.nestingDepthMax} levels deep`,
      };
    }
    return { ok: true, value };
  } catch (thrown) {
    // Alias bombs end here, and nesting that exhausts the parser's own stack.
    return { ok: false, line: chunk.line, message: messageOf(thrown) };
  }
}

function tooDeep(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  return Object.values(value).some((inner) => tooDeep(inner, levels - 1));
}

/** The line of a field, parsed anew: asked for rarely, so nothing is kept for it. The nearest parent's where it is absent. */
export function lineOfPath(chunk: Chunk, path: readonly (string | number)[]): number {
  const counter = new LineCounter();
  const document = parseDocument(chunk.text, { ...OPTIONS, lineCounter: counter });
  for (let length = path.length; length > 0; length--) {
    const offset = offsetOf(document, path.slice(0, length));
    if (offset !== undefined) return chunk.line + counter.linePos(offset).line - 1;
  }
  return firstLine(chunk);
}

function offsetOf(
  document: ReturnType<typeof parseDocument>,
  path: readonly (string | number)[],
): number | undefined {
  const last = path.at(-1);
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (isMap(parent)) {
    const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === String(last));
    return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
  }
  const node = document.getIn(path, true);
  return typeof node === 'object' && node !== null && 'range' in node
    ? (node.range as [number] | undefined)?.[0]
    : undefined;
}

/** The first line of a chunk that says something. */
export function firstLine(chunk: Chunk): number {
  const offset = chunk.text
    .split('\n')
    .findIndex((line) => line.trim() !== '' && !line.trimStart().startsWith('#'));
  return chunk.line + Math.max(0, offset);
}
