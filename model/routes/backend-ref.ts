import type { FieldPath, Fields } from '../read/fields.ts';
import type { HeaderEdit } from '../snapshot.ts';

/** A reference to a Service, as it was written. */
export interface ServiceRef {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly port: number | undefined;
  readonly path: FieldPath;
}

export interface BackendRef extends ServiceRef {
  readonly weight: number;
  readonly requestHeaders: HeaderEdit | undefined;
  readonly responseHeaders: HeaderEdit | undefined;
}

/** The part of a reference that mirrors and backends have in common. The caller reads the rest, and finishes. */
export function readServiceRef(entry: Fields, namespace: string): ServiceRef {
  return {
    group: entry.string('group') ?? '',
    kind: entry.string('kind') || 'Service',
    namespace: entry.string('namespace') || namespace,
    name: entry.required('name', 253) ?? '',
    port: entry.integer('port', 1, 65_535),
    path: entry.path,
  };
}
