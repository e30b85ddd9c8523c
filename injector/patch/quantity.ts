/** A Kubernetes quantity as a number that can be compared: millicores for CPU, bytes for memory. */
export type Quantity = { readonly text: string; readonly size: number };

const MEMORY_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** `100m`, `0.5`, `2`: at least a millicore. Undefined where the text is something else. */
export function cpuQuantity(text: string): Quantity | undefined {
  const match = /^(\d{1,6})(m|\.\d{1,3})?$/.exec(text);
  if (match === null) return undefined;
  const size = match[2] === 'm' ? Number(match[1]) : Math.round(Number(text) * 1_000);
  return size > 0 ? { text, size } : undefined;
}

/** `64Mi`, `0.5Gi`, `128M`, `1000000`: at least a byte. Undefined where the text is something else. */
export function memoryQuantity(text: string): Quantity | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,9})?)(k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(text);
  if (match === null) return undefined;
  const size = Number(match[1]) * (MEMORY_UNITS[match[2] ?? ''] ?? 1);
  return size >= 1 ? { text, size } : undefined;
}
