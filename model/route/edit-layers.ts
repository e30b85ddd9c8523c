import type { HeaderEdit, RouteRule } from '../snapshot.ts';

/** Edits of requests and responses, of a rule or of one of its backends. */
export interface BothEdits {
  readonly requestHeaders: HeaderEdit | undefined;
  readonly responseHeaders: HeaderEdit | undefined;
}

/** The edits of a rule where those of its backends are applied before its own. */
export interface EditLayers {
  /** Whether anything differs from what the rule and its backends say. */
  readonly moved: boolean;
  readonly ofRule: BothEdits;
  /** The Host of the rule's rewrite; undefined where it has none, or where it is among those of the backends. */
  readonly hostname: string | undefined;
  readonly ofBackends: readonly BothEdits[];
}

type EditedRule = Pick<RouteRule, 'requestHeaders' | 'responseHeaders' | 'rewrite' | 'backends'>;

/**
 * The mesh applies the edits of a rule and then those of the backend chosen; Envoy applies those of a weighted cluster and
 * then those of its route, whatever `most_specific_header_mutations_wins` says (weighted_cluster_specifier.cc). What both
 * edit is therefore taken from the rule and told to each backend, as what both come to.
 */
export function editLayers(rule: EditedRule): EditLayers {
  const { rewrite, backends } = rule;
  const hostname = rewrite?.hostname;
  const ofRule = hostname === undefined ? rule.requestHeaders : withHost(rule.requestHeaders, hostname);
  const requests = layers(
    ofRule,
    backends.map(({ requestHeaders }) => requestHeaders),
  );
  const responses = layers(
    rule.responseHeaders,
    backends.map(({ responseHeaders }) => responseHeaders),
  );
  const keepsHost = !requests.shared.has('host');
  return {
    moved: requests.shared.size > 0 || responses.shared.size > 0,
    ofRule: {
      requestHeaders: without(rule.requestHeaders, requests.shared),
      responseHeaders: without(rule.responseHeaders, responses.shared),
    },
    hostname: keepsHost ? hostname : undefined,
    ofBackends: backends.map((_, index) => ({
      requestHeaders: requests.ofBackends[index],
      responseHeaders: responses.ofBackends[index],
    })),
  };
}

function withHost(edit: HeaderEdit | undefined, hostname: string): HeaderEdit {
  const { set, add, remove } = edit ?? NOTHING;
  return { set: [...set.filter((pair) => lowerName(pair) !== 'host'), ['host', hostname]], add, remove };
}

const NOTHING: HeaderEdit = { set: [], add: [], remove: [] };

function layers(ofRule: HeaderEdit | undefined, ofBackends: readonly (HeaderEdit | undefined)[]) {
  const ofAny = new Set(ofBackends.flatMap(editedNames));
  const shared = new Set(editedNames(ofRule).filter((name) => ofAny.has(name)));
  if (ofRule === undefined || shared.size === 0) return { shared, ofBackends };
  const moved = filtered(ofRule, (name) => shared.has(name));
  return { shared, ofBackends: ofBackends.map((edit) => inTurn(moved, edit)) };
}

/** One edit that does what two do one after another: an edit removes, then sets, then adds. */
function inTurn(first: HeaderEdit, second: HeaderEdit | undefined): HeaderEdit {
  if (second === undefined) return first;
  const settled = new Set([...second.set.map(lowerName), ...second.remove]);
  const left = filtered(first, (name) => !settled.has(name));
  return {
    set: [...left.set, ...second.set],
    add: [...left.add, ...second.add],
    remove: [...left.remove, ...second.remove],
  };
}

function without(edit: HeaderEdit | undefined, names: ReadonlySet<string>): HeaderEdit | undefined {
  return edit === undefined || names.size === 0 ? edit : filtered(edit, (name) => !names.has(name));
}

function filtered({ set, add, remove }: HeaderEdit, keeps: (lowerName: string) => boolean): HeaderEdit {
  return {
    set: set.filter((pair) => keeps(lowerName(pair))),
    add: add.filter((pair) => keeps(lowerName(pair))),
    remove: remove.filter(keeps),
  };
}

/** The names that an edit is about, in lower case. */
export function editedNames(edit: HeaderEdit | undefined): readonly string[] {
  if (edit === undefined) return [];
  return [...edit.set.map(lowerName), ...edit.add.map(lowerName), ...edit.remove];
}

function lowerName([name]: readonly [string, string]): string {
  return name.toLowerCase();
}
