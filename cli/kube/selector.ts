import type { JsonValue } from '../../common/json.ts';
import { listAt, textAt, textsAt } from './fields.ts';

type Labels = Readonly<Record<string, string>>;

/** Whether a LabelSelector (matchLabels and matchExpressions) selects `labels`; an empty one selects everything. */
export function selects(selector: JsonValue | undefined, labels: Labels): boolean {
  return (
    matchesLabels(textsAt(selector, 'matchLabels'), labels) &&
    listAt(selector, 'matchExpressions').every((expression) => matchesExpression(expression, labels))
  );
}

export function matchesLabels(wanted: Labels, labels: Labels): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value);
}

function matchesExpression(expression: JsonValue, labels: Labels): boolean {
  const value = labels[textAt(expression, 'key') ?? ''];
  const values = listAt(expression, 'values');
  switch (textAt(expression, 'operator')) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      return false;
  }
}
