import type { HeaderValueOption } from '../../common/gen/envoy/config/core/v3/base.ts';
import { HeaderValueOption_HeaderAppendAction } from '../../common/gen/envoy/config/core/v3/base.ts';
import type { JsonObject } from '../../common/json.ts';
import { escapeHeaderValue } from '../../common/wire/values.ts';
import type { BothEdits } from '../../model/route/edit-layers.ts';
import type { HeaderEdit } from '../../model/snapshot.ts';

/** The fields that a route and a weighted cluster of Envoy have alike. */
export function headerEdits({ requestHeaders, responseHeaders }: BothEdits) {
  return {
    requestHeadersToAdd: additions(requestHeaders),
    requestHeadersToRemove: [...(requestHeaders?.remove ?? [])],
    responseHeadersToAdd: additions(responseHeaders),
    responseHeadersToRemove: [...(responseHeaders?.remove ?? [])],
  };
}

/** What those fields can't say: whether there is an edit at all, and what it says of Host. */
export function headerMetadata({ requestHeaders, responseHeaders }: BothEdits) {
  return {
    requestHeaders: requestHeaders === undefined ? undefined : true,
    host: hostMetadata(requestHeaders),
    responseHeaders: responseHeaders === undefined ? undefined : true,
    responseHost: hostMetadata(responseHeaders),
  };
}

/** The same without those fields. */
export function wholeEdits({ requestHeaders, responseHeaders }: BothEdits) {
  return { requestHeaders: wholeEdit(requestHeaders), responseHeaders: wholeEdit(responseHeaders) };
}

function wholeEdit(edit: HeaderEdit | undefined): JsonObject | undefined {
  if (edit === undefined) return undefined;
  const pairs = (list: HeaderEdit['set']) => list.map(([name, value]) => ({ name, value }));
  return { set: pairs(edit.set), add: pairs(edit.add), remove: [...edit.remove] };
}

/** Envoy leaves Host to a field of the route action or the weighted cluster, and refuses it among the headers. */
export function hostRewrite(edit: HeaderEdit | undefined, otherwise?: string) {
  const [, value = otherwise] = edit?.set.find(isHost) ?? [];
  return value === undefined ? {} : { hostRewriteSpecifier: { $case: 'hostRewriteLiteral' as const, value } };
}

/** Neither is there a place for how the name was written, nor for a Host that nobody looks at in a response. */
function hostMetadata(edit: HeaderEdit | undefined): JsonObject | undefined {
  const at = edit?.set.findIndex(isHost) ?? -1;
  const [name, value] = edit?.set[at] ?? [];
  return name === undefined || value === undefined ? undefined : { name, value, at };
}

function isHost([name]: readonly [string, string]): boolean {
  return name.toLowerCase() === 'host';
}

function additions(edit: HeaderEdit | undefined): HeaderValueOption[] {
  if (edit === undefined) return [];
  const option = (appendAction: HeaderValueOption['appendAction']) => {
    return ([key, value]: readonly [string, string]): HeaderValueOption => ({
      header: { key, value: escapeHeaderValue(value), rawValue: Buffer.alloc(0) },
      appendAction,
      keepEmptyValue: true,
    });
  };
  return [
    ...edit.set
      .filter((pair) => !isHost(pair))
      .map(option(HeaderValueOption_HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD)),
    ...edit.add.map(option(HeaderValueOption_HeaderAppendAction.APPEND_IF_EXISTS_OR_ADD)),
  ];
}
