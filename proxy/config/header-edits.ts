import { isDeepStrictEqual } from 'node:util';
import type { HeaderValueOption } from '../../common/gen/envoy/config/core/v3/base.ts';
import { HeaderValueOption_HeaderAppendAction } from '../../common/gen/envoy/config/core/v3/base.ts';
import { unescapeHeaderValue } from '../../common/wire/values.ts';
import type { BothEdits } from '../../model/route/edit-layers.ts';
import type { HeaderEdit } from '../../model/snapshot.ts';
import { ConfigError, onlyFields, type Reader } from './reader.ts';

/** The fields that a route and a weighted cluster of Envoy have alike. */
export const HEADER_EDIT_FIELDS = [
  'requestHeadersToAdd',
  'requestHeadersToRemove',
  'responseHeadersToAdd',
  'responseHeadersToRemove',
] as const;

interface HeaderEditFields {
  readonly requestHeadersToAdd: readonly HeaderValueOption[];
  readonly requestHeadersToRemove: readonly string[];
  readonly responseHeadersToAdd: readonly HeaderValueOption[];
  readonly responseHeadersToRemove: readonly string[];
}

/** The edits of requests and responses of `owner`; `metadata` says what its fields can't. */
export function decodeHeaderEdits(owner: HeaderEditFields, metadata: Reader, path: string) {
  return {
    requestHeaders: withHost(
      headerEdit(
        !metadata.field('requestHeaders').absent,
        owner.requestHeadersToAdd,
        owner.requestHeadersToRemove,
        `${path}.request_headers_to_add`,
      ),
      metadata.field('host'),
    ),
    responseHeaders: withHost(
      headerEdit(
        !metadata.field('responseHeaders').absent,
        owner.responseHeadersToAdd,
        owner.responseHeadersToRemove,
        `${path}.response_headers_to_add`,
      ),
      metadata.field('responseHost'),
    ),
  };
}

/** The edits of something that Envoy has no fields for, all of them in the metadata. */
export function decodeWholeEdits(metadata: Reader) {
  return {
    requestHeaders: wholeEdit(metadata.field('requestHeaders')),
    responseHeaders: wholeEdit(metadata.field('responseHeaders')),
  };
}

function wholeEdit(said: Reader): HeaderEdit | undefined {
  if (said.absent) return undefined;
  const pair = (item: Reader): [string, string] => {
    const [name, value] = [item.field('name').string(), item.field('value').string()];
    checkHeader(name, value, item.path);
    return [name, value];
  };
  return {
    set: said.field('set').list(pair),
    add: said.field('add').list(pair),
    remove: said.field('remove').list((item) => item.string()),
  };
}

/** Refuses fields that make other edits than `meant`, but for Host, which they don't hold. Throws `ConfigError`. */
export function checkHeaderEdits(owner: HeaderEditFields, meant: BothEdits, path: string): void {
  const requests = `${path}.request_headers_to_add`;
  const said = headerEdit(true, owner.requestHeadersToAdd, owner.requestHeadersToRemove, requests);
  if (!isDeepStrictEqual(said, withoutHost(meant.requestHeaders))) {
    throw new ConfigError(requests, 'differs from the edits in the metadata');
  }
  const responses = `${path}.response_headers_to_add`;
  const answered = headerEdit(true, owner.responseHeadersToAdd, owner.responseHeadersToRemove, responses);
  if (!isDeepStrictEqual(answered, withoutHost(meant.responseHeaders))) {
    throw new ConfigError(responses, 'differs from the edits in the metadata');
  }
}

function withoutHost(edit: HeaderEdit | undefined): HeaderEdit {
  const { set, add, remove } = edit ?? { set: [], add: [], remove: [] };
  return { set: set.filter(([name]) => name.toLowerCase() !== 'host'), add, remove };
}

/** Refuses a Host that Envoy was told to write and that the metadata doesn't know of, or the other way round. */
export function checkHostRewrite(
  specifier: { readonly $case: string; readonly value: unknown } | undefined,
  edit: HeaderEdit | undefined,
  otherwise: string | undefined,
  path: string,
): void {
  const meant = edit?.set.find(([name]) => name.toLowerCase() === 'host')?.[1] ?? otherwise;
  const said = specifier?.$case === 'hostRewriteLiteral' ? specifier.value : undefined;
  if (said !== meant || (specifier !== undefined && said === undefined)) {
    throw new ConfigError(`${path}.host_rewrite_specifier`, 'differs from the Host in the metadata');
  }
}

/** Envoy has no Host among the headers that it edits; metadata says where it stood among the others. */
function withHost(edit: HeaderEdit | undefined, host: Reader): HeaderEdit | undefined {
  if (host.absent || edit === undefined) return edit;
  const [name, value] = [host.field('name').string(), host.field('value').string()];
  checkHeader(name, value, host.path);
  return { ...edit, set: edit.set.toSpliced(host.field('at').integer(0, edit.set.length), 0, [name, value]) };
}

/** RFC 9110, sections 5.1 and 5.5: what isn't a field would end up as another one, or as the body. */
function checkHeader(name: string, value: string, path: string): void {
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name))
    throw new ConfigError(`${path}.key`, 'is not a header name');
  if (/[\0\r\n]/.test(value)) throw new ConfigError(`${path}.value`, 'holds a line break or a zero byte');
}

function headerEdit(
  present: boolean,
  additions: readonly HeaderValueOption[],
  remove: readonly string[],
  path: string,
): HeaderEdit | undefined {
  if (!present && additions.length === 0 && remove.length === 0) return undefined;
  const set: [string, string][] = [];
  const add: [string, string][] = [];
  for (const [index, option] of additions.entries()) {
    const at = `${path}[${index}]`;
    onlyFields(option, ['header', 'appendAction', 'keepEmptyValue'], at);
    const value = unescapeHeaderValue(option.header?.value ?? '');
    if (option.header === undefined || value === undefined) {
      throw new ConfigError(at, 'must be a literal header');
    }
    onlyFields(option.header, ['key', 'value'], `${at}.header`);
    checkHeader(option.header.key, value, `${at}.header`);
    if (option.appendAction === HeaderValueOption_HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD) {
      set.push([option.header.key, value]);
    } else if (option.appendAction === HeaderValueOption_HeaderAppendAction.APPEND_IF_EXISTS_OR_ADD) {
      add.push([option.header.key, value]);
    } else {
      throw new ConfigError(`${at}.append_action`, 'is not supported by this proxy');
    }
  }
  return { set, add, remove: [...remove] };
}
