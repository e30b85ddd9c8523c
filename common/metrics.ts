/** A family of numbers in Prometheus' text format: a counter, a gauge or a histogram, one series per set of labels. */
export type MetricKind = 'counter' | 'gauge' | 'histogram';

/** New label sets past this many per family are counted in one series with `overflow="true"`: a client can't fill memory. */
export const seriesMax = 2_000;

/** Seconds; from half a millisecond to a minute. */
const DURATION_BUCKETS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/** The numbers of one set of labels. Whoever counts often keeps it, since finding it costs more than counting. */
export class MetricSeries {
  value = 0;
  sum = 0;
  /** Per bound of `DURATION_BUCKETS`, observations above the bound before it. */
  readonly buckets: Float64Array | undefined;

  constructor(isHistogram: boolean) {
    this.buckets = isHistogram ? new Float64Array(DURATION_BUCKETS.length) : undefined;
  }

  /** Of a counter or a gauge. */
  add(amount: number): void {
    this.value += amount;
  }

  /** Of a histogram. */
  observe(seconds: number): void {
    this.value++;
    this.sum += seconds;
    const { buckets } = this;
    if (buckets === undefined) return;
    let index = 0;
    while (index < buckets.length && seconds > (DURATION_BUCKETS[index] ?? 0)) index++;
    if (index < buckets.length) buckets[index] = (buckets[index] ?? 0) + 1;
  }
}

export class MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly kind: MetricKind;
  readonly #labels: readonly string[];
  readonly #series = new Map<string, { readonly text: string; readonly series: MetricSeries }>();

  constructor(name: string, help: string, kind: MetricKind, labels: readonly string[]) {
    this.name = name;
    this.help = help;
    this.kind = kind;
    this.#labels = labels;
  }

  /** Values are given in the order of the family's labels, here and below. What was forgotten counts nowhere. */
  series(...values: readonly string[]): MetricSeries {
    return this.#find(values);
  }

  add(amount: number, ...values: readonly string[]): void {
    this.#find(values).add(amount);
  }

  set(value: number, ...values: readonly string[]): void {
    this.#find(values).value = value;
  }

  observe(seconds: number, ...values: readonly string[]): void {
    this.#find(values).observe(seconds);
  }

  forget(...values: readonly string[]): void {
    this.#series.delete(values.join('\u0000'));
  }

  #find(values: readonly string[]): MetricSeries {
    const key = values.join('\u0000');
    const known = this.#series.get(key);
    if (known !== undefined) return known.series;
    if (this.#series.size >= seriesMax && key !== 'overflow') return this.#overflow();
    const text = this.#labels
      .map((label, index) => `${label}="${escapeLabel(values[index] ?? '')}"`)
      .join(',');
    const series = new MetricSeries(this.kind === 'histogram');
    this.#series.set(key, { text, series });
    return series;
  }

  #overflow(): MetricSeries {
    const known = this.#series.get('overflow');
    if (known !== undefined) return known.series;
    const series = new MetricSeries(this.kind === 'histogram');
    this.#series.set('overflow', { text: 'overflow="true"', series });
    return series;
  }

  render(): string {
    if (this.#series.size === 0) return '';
    const lines = [`# HELP ${this.name} ${this.help}`, `# TYPE ${this.name} ${this.kind}`];
    for (const { text, series } of this.#series.values()) {
      if (this.kind !== 'histogram') {
        lines.push(`${this.name}${braces(text)} ${series.value}`);
        continue;
      }
      let below = 0;
      const bounds = DURATION_BUCKETS.map((bound, index) => {
        below += series.buckets?.[index] ?? 0;
        return [String(bound), below] as const;
      });
      for (const [bound, count] of [...bounds, ['+Inf', series.value] as const]) {
        lines.push(`${this.name}_bucket${braces(`${text}${text === '' ? '' : ','}le="${bound}"`)} ${count}`);
      }
      lines.push(
        `${this.name}_sum${braces(text)} ${series.sum}`,
        `${this.name}_count${braces(text)} ${series.value}`,
      );
    }
    return `${lines.join('\n')}\n`;
  }
}

function braces(labels: string): string {
  return labels === '' ? '' : `{${labels}}`;
}

/** Prometheus' exposition format: backslash, quote and line feed are escaped in label values. */
function escapeLabel(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}
