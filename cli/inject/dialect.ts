import {
  type Document,
  type DocumentOptions,
  type ParseOptions,
  parseDocument,
  Scalar,
  type ScalarTag,
  type SchemaOptions,
  type Tags,
} from 'yaml';
import type { JsonValue } from '../../common/json.ts';
import { DEFAULT_FILE_LIMITS } from '../../sources/files/limits.ts';

const TRUE = /^(?:[yY]|[yY]es|YES|[oO]n|ON)$/;
const INT = 'tag:yaml.org,2002:int';

function older(tag: string, test: RegExp, resolve: (text: string) => unknown): ScalarTag {
  // Nothing new is written so: a value of these kinds is identified by the tags of YAML 1.2.
  return { tag, default: true, identify: () => false, test, resolve: (text) => new Scalar(resolve(text)) };
}

function integer(test: RegExp, digitsFrom: number, radix: number): ScalarTag {
  return older(INT, test, (text) => {
    const digits = text.replace(/^[-+]/, '').replaceAll('_', '').slice(digitsFrom);
    return Number.parseInt(digits, radix) * (text.startsWith('-') ? -1 : 1);
  });
}

/** What kubectl takes for booleans and numbers beyond YAML 1.2 (go-yaml v2, `resolve.go`): `yes`, `0755`, `1_000`. */
const OLDER: readonly ScalarTag[] = [
  older('tag:yaml.org,2002:bool', /^(?:[yYnN]|[yY]es|YES|[nN]o|NO|[oO]n|ON|[oO]ff|OFF)$/, (text) =>
    TRUE.test(text),
  ),
  integer(/^[-+]?0_*[0-7][0-7_]*$/, 1, 8),
  integer(/^[-+]?0b[01][01_]*$/, 2, 2),
  integer(/^[-+]?[1-9][0-9]*_[0-9_]*$/, 0, 10),
];

/** Values that aren't changed are written as they were: `0755` as decimal would be another file mode. */
function asWritten(tag: Tags[number]): Tags[number] {
  if (typeof tag === 'string' || !('resolve' in tag) || tag.collection !== undefined) return tag;
  if (tag.tag === 'tag:yaml.org,2002:str' || tag.default === undefined) return tag;
  const { stringify = ({ value }: Scalar) => String(value) } = tag as ScalarTag;
  return {
    ...(tag as ScalarTag),
    stringify: (item, ...rest) => item.source ?? stringify(item, ...rest),
  };
}

/** How manifests are read and written: as kubectl does, whose YAML is older than 1.2. */
export const DIALECT: ParseOptions & DocumentOptions & SchemaOptions = {
  version: '1.2',
  schema: 'core',
  merge: true,
  customTags: (tags) => [...OLDER, ...tags].map(asWritten),
};

export function readDocument(text: string): Document.Parsed {
  return parseDocument(text, { ...DIALECT, logLevel: 'silent' });
}

/** The values of a document that has been found sound. */
export function valueIn(text: string): JsonValue {
  return (readDocument(text).toJS({ maxAliasCount: DEFAULT_FILE_LIMITS.aliasesMax }) ?? null) as JsonValue;
}
