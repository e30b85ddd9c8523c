const UNITS: Readonly<Record<string, number>> = {
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

/** The bytes of a Kubernetes quantity: `64Mi`, `0.5Gi`, `128M`, `1000000`. NaN where the text is something else. */
export function quantityBytes(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,9})?)(k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(text);
  return Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? 1);
}
