import { isJsonObject, type JsonObject } from '../../common/json.ts';
import { recordOf } from '../../model/read/meta.ts';
import { type PatchOperation, pointer } from './json-patch.ts';
import type { PodView } from './pod.ts';
import { cpuQuantity, memoryQuantity, type Quantity } from './quantity.ts';

const KINDS = {
  cpu: { parse: cpuQuantity, text: (size: number) => `${size}m` },
  memory: { parse: memoryQuantity, text: (size: number) => String(size) },
} as const;

export interface EnlargedPod {
  readonly operations: readonly PatchOperation[];
  readonly warnings: readonly string[];
}

/**
 * Adds the sidecar's resources to those that a pod has for all its containers together (Kubernetes, "Pod-level resources"):
 * the app keeps what it had, and the API server refuses a pod whose containers ask for more than the pod.
 */
export function enlargePod(view: PodView, sidecar: JsonObject): EnlargedPod {
  const own = recordOf(view.spec.resources);
  const operations: PatchOperation[] = [];
  const warnings: string[] = [];
  for (const bound of ['requests', 'limits'] as const) {
    if (!isJsonObject(own[bound])) continue;
    for (const [kind, { parse, text }] of Object.entries(KINDS)) {
      const has = recordOf(own[bound])[kind];
      if (has === undefined) continue;
      const before = quantityOf(has, parse);
      // Without a limit of its own the sidecar may still use what it asks for.
      const more = quantityOf(recordOf(sidecar[bound])[kind] ?? recordOf(sidecar.requests)[kind], parse);
      const path = pointer('spec', 'resources', bound, kind);
      if (before === undefined)
        warnings.push(`${path} is left as it is, as the sidecar's share can't be added to "${String(has)}"`);
      else if (more !== undefined)
        operations.push({ op: 'replace', path, value: text(Math.ceil(before.size + more.size)) });
    }
  }
  return { operations, warnings };
}

function quantityOf(value: unknown, parse: (text: string) => Quantity | undefined): Quantity | undefined {
  return typeof value === 'string' || typeof value === 'number' ? parse(String(value)) : undefined;
}
