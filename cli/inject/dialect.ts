import {
  type Document,
  type DocumentOptions,
  type ParseOptions,
  parseDocument,
  type Scalar,
  type ScalarTag,
  type SchemaOptions,
  type Tags,
} from 'yaml';
import type { JsonValue } from '../../common/json.ts';
import { kubectlTags } from '../../sources/files/dialect.ts';
import { DEFAULT_FILE_LIMITS } from '../../sources/files/limits.ts';

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
  customTags: (tags) => kubectlTags(tags).map(asWritten),
};

export function readDocument(text: string): Document.Parsed {
  return parseDocument(text, { ...DIALECT, logLevel: 'silent' });
}

/** The values of a document that has been found sound. */
export function valueIn(text: string): JsonValue {
  return (readDocument(text).toJS({ maxAliasCount: DEFAULT_FILE_LIMITS.aliasesMax }) ?? null) as JsonValue;
}
