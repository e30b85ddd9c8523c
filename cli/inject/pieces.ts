import { type Document, isAlias, isSeq, visit, Document as YamlDocument } from 'yaml';
import { HeddleError } from '../../common/errors.ts';
import type { JsonValue } from '../../common/json.ts';
import type { PatchOperation } from '../../injector/patch/json-patch.ts';
import { type Chunk, parseChunk, splitDocuments } from '../../sources/files/documents.ts';
import { DEFAULT_FILE_LIMITS } from '../../sources/files/limits.ts';
import { applyJsonPatch, parsePointer } from '../local/json-patch.ts';
import { DIALECT, readDocument, valueIn } from './dialect.ts';

type Path = readonly (string | number)[];

/** One document of a stream, with everything that was written around it. */
export interface Piece {
  /** As it stands in the file, its `---` line included. */
  readonly raw: string;
  /** What is parsed; undefined where there are only comments. */
  readonly chunk: Chunk | undefined;
  readonly value: JsonValue;
}

/** What becomes of a part of a document. */
export interface Change {
  /** Where the pod stands in the document. */
  readonly path: Path;
  readonly operations: readonly PatchOperation[];
}

/**
 * Cuts a YAML stream so that the pieces, put together again, are the stream. Throws `HeddleError` (`file`) with source and
 * line where one of them can't be read.
 */
export function cutStream(text: string, source: string): readonly Piece[] {
  const { fileBytesMax, documentsPerFileMax } = DEFAULT_FILE_LIMITS;
  if (Buffer.byteLength(text) > fileBytesMax)
    throw new HeddleError('file', `${source}: more than ${fileBytesMax} bytes`);
  const pieces: Piece[] = [];
  let lines: string[] = [];
  let first = 1;
  const close = () => {
    if (lines.length > 0) pieces.push(pieceOf(lines.join(''), first, source));
    first += lines.length;
    lines = [];
    if (pieces.length > documentsPerFileMax)
      throw new HeddleError('file', `${source}: more than ${documentsPerFileMax} documents in one file`);
  };
  for (const line of text.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
    if (/^---(\s|$)/.test(line)) close();
    lines.push(line);
    if (/^\.\.\.(\s|$)/.test(line)) close();
  }
  close();
  return pieces;
}

function pieceOf(raw: string, line: number, source: string): Piece {
  const [found] = saysNothing(raw) ? [] : splitDocuments(raw);
  if (found === undefined) return { raw, chunk: undefined, value: null };
  const chunk = { ...found, line: line + found.line - 1 };
  const parsed = parseChunk(chunk, DEFAULT_FILE_LIMITS);
  if (!parsed.ok) throw new HeddleError('file', `${source}:${parsed.line}: ${parsed.message}`);
  return { raw, chunk, value: valueIn(chunk.text) };
}

/** Comments, blanks, and directives, which stand before the marker of their document. */
function saysNothing(raw: string): boolean {
  return raw.split('\n').every((line) => /^[\uFEFF\s]*([#%]|$)/.test(line));
}

/** The document's text with the changes in it. Comments and order stay; where it has aliases it is written out anew. */
export function changedText({ raw, chunk, value }: Piece, changes: readonly Change[]): string {
  if (chunk === undefined || changes.length === 0) return raw;
  const parsed = readDocument(chunk.text);
  const document = hasAliases(parsed) ? writtenOut(value, changes) : inPlace(parsed, changes);
  const text = document.toString({
    lineWidth: 0,
    flowCollectionPadding: false,
    indentSeq: !hasFlatLists(chunk.text),
  });
  const marked = `${/^---(\s|$)/.test(raw) ? '---\n' : ''}${text}`;
  return raw.includes('\r\n') ? marked.replaceAll('\n', '\r\n') : marked;
}

/** The document's value with the changes in it. */
export function changedValue({ value }: Piece, changes: readonly Change[]): JsonValue {
  const operations = changes.flatMap((change) => change.operations.map((one) => placed(one, change.path)));
  const patched = applyJsonPatch(value, operations as readonly JsonValue[]);
  if (!patched.ok) throw patched.error;
  return patched.value;
}

function placed(operation: PatchOperation, path: Path): PatchOperation {
  const prefix = path
    .map((token) => `/${String(token).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('');
  return { ...operation, path: `${prefix}${operation.path}` };
}

function writtenOut(value: JsonValue, changes: readonly Change[]): Document {
  const piece = { raw: '', chunk: undefined, value };
  return new YamlDocument(changedValue(piece, changes), { ...DIALECT, aliasDuplicateObjects: false });
}

function inPlace(document: Document.Parsed, changes: readonly Change[]): Document {
  for (const { path, operations } of changes)
    for (const operation of operations) {
      const at = [...path, ...(parsePointer(operation.path) ?? [])];
      if (operation.op === 'remove') {
        document.deleteIn(at);
        continue;
      }
      const node = document.createNode(operation.value, { aliasDuplicateObjects: false });
      const list = document.getIn(at.slice(0, -1), true);
      const last = at.at(-1);
      if (operation.op === 'add' && isSeq(list))
        list.items.splice(last === '-' ? list.items.length : Number(last), 0, node);
      else document.setIn(at, node);
    }
  return document;
}

function hasAliases(document: Document.Parsed): boolean {
  let found = false;
  visit(document, {
    Node(_key, node) {
      if (isAlias(node)) found = true;
      return found ? visit.BREAK : undefined;
    },
  });
  return found;
}

/** Lists that stand as far left as their key, as kubectl writes them. */
function hasFlatLists(text: string): boolean {
  return /^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?: *#[^\n]*\n)*\1- /m.test(text);
}
