import { type Fields, shown } from '../../model/read/fields.ts';

/** A label selector (Kubernetes API: LabelSelector). Selectors with the same key select the same. */
export interface Selector {
  readonly key: string;
  /** For people, as kubectl writes it: `app=web,tier in (a, b)`; empty where it selects everything. */
  readonly text: string;
  matches(labels: ReadonlyMap<string, string>): boolean;
}

const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;
type Operator = (typeof OPERATORS)[number];

interface Requirement {
  readonly label: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

export const selectorLabelsMax = 256;
export const selectorExpressionsMax = 256;
export const selectorValuesMax = 1_024;

const LABEL_NAME = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$/;
const LABEL_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;
const LABEL_PREFIX = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/**
 * Reads a selector, an absent one as the empty one; undefined where any of it can't be used, since a selector without one of its conditions would
 * select more than was meant. Errors go to `parent`.
 */
export function readSelector(parent: Fields, name: string): Selector | undefined {
  const before = parent.errors.length;
  const fields = parent.object(name);
  const requirements = [...readMatchLabels(fields), ...readExpressions(fields)];
  fields.finish();
  return fields.errors.length === before ? selectorOf(requirements) : undefined;
}

function readMatchLabels(fields: Fields): readonly Requirement[] {
  const labels = fields.raw('matchLabels');
  if (labels === undefined) return [];
  if (typeof labels !== 'object' || labels === null || Array.isArray(labels)) {
    fields.error(['matchLabels'], 'must be an object');
    return [];
  }
  const entries = Object.entries(labels);
  if (entries.length > selectorLabelsMax)
    fields.error(['matchLabels'], `must have at most ${selectorLabelsMax} labels`);
  return entries.slice(0, selectorLabelsMax).map(([label, value]: [string, unknown]) => {
    checkLabel(fields, ['matchLabels', label], label);
    const text = checkValue(fields, ['matchLabels', label], value);
    return { label, operator: 'In', values: [text] };
  });
}

function readExpressions(fields: Fields): readonly Requirement[] {
  return fields.objects('matchExpressions', selectorExpressionsMax).map((one) => {
    const label = one.required('key') ?? '';
    if (label !== '') checkLabel(one, ['key'], label);
    if (!one.has('operator')) one.error(['operator'], 'is required');
    const operator = one.choice('operator', OPERATORS) ?? 'Exists';
    const values = one
      .list('values', selectorValuesMax)
      .map(({ value }, index) => checkValue(one, ['values', index], value));
    const wantsValues = operator === 'In' || operator === 'NotIn';
    if (wantsValues && values.length === 0) one.error(['values'], `must name at least one for ${operator}`);
    if (!wantsValues && values.length > 0) one.error(['values'], `must be empty for ${operator}`);
    one.finish();
    return { label, operator, values };
  });
}

function checkLabel(fields: Fields, path: readonly (string | number)[], label: string): void {
  const [name = '', prefix, ...more] = label.split('/').toReversed();
  const sound =
    LABEL_NAME.test(name) && (prefix === undefined || LABEL_PREFIX.test(prefix)) && more.length === 0;
  if (!sound) fields.error(path, `${shown(label)} is no label`);
}

function checkValue(fields: Fields, path: readonly (string | number)[], value: unknown): string {
  if (typeof value === 'string' && LABEL_VALUE.test(value)) return value;
  fields.error(path, `must be a label value in quotes, not ${shown(value)}`);
  return '';
}

function selectorOf(requirements: readonly Requirement[]): Selector {
  const texts = requirements.map(({ label, operator, values }) =>
    JSON.stringify([label, operator, ...[...new Set(values)].toSorted()]),
  );
  const checks = requirements.map(checkOf);
  return {
    key: [...new Set(texts)].toSorted().join(','),
    text: requirements.map(requirementText).join(','),
    matches: (labels) => checks.every((check) => check(labels)),
  };
}

function requirementText({ label, operator, values }: Requirement): string {
  switch (operator) {
    case 'In':
      return values.length === 1 ? `${label}=${values[0]}` : `${label} in (${values.join(', ')})`;
    case 'NotIn':
      return `${label} notin (${values.join(', ')})`;
    case 'Exists':
      return label;
    case 'DoesNotExist':
      return `!${label}`;
    default:
      return operator satisfies never;
  }
}

function checkOf({ label, operator, values }: Requirement): (labels: ReadonlyMap<string, string>) => boolean {
  const wanted = new Set(values);
  switch (operator) {
    case 'In':
      return (labels) => wanted.has(labels.get(label) ?? '\0');
    case 'NotIn':
      return (labels) => !wanted.has(labels.get(label) ?? '\0');
    case 'Exists':
      return (labels) => labels.has(label);
    case 'DoesNotExist':
      return (labels) => !labels.has(label);
    default:
      return operator satisfies never;
  }
}
