import { quantityBytes } from '../../common/quantity.ts';

/** A Kubernetes quantity as a number that can be compared: millicores for CPU, bytes for memory. */
export type Quantity = { readonly text: string; readonly size: number };

/** `100m`, `0.5`, `2`: at least a millicore. Undefined where the text is something else. */
export function cpuQuantity(text: string): Quantity | undefined {
  const match = /^(\d{1,6})(m|\.\d{1,3})?$/.exec(text);
  if (match === null) return undefined;
  const size = match[2] === 'm' ? Number(match[1]) : Math.round(Number(text) * 1_000);
  return size > 0 ? { text, size } : undefined;
}

/** `64Mi`, `0.5Gi`, `128M`, `1000000`: at least a byte. Undefined where the text is something else. */
export function memoryQuantity(text: string): Quantity | undefined {
  const size = quantityBytes(text);
  return size >= 1 ? { text, size } : undefined;
}
