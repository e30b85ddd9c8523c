import type { Finding } from '../check/findings.ts';
import type { Palette } from './colour.ts';

const ORDER: readonly Finding['level'][] = ['good', 'note', 'warning', 'problem'];
const SIGNS: Readonly<Record<Finding['level'], string>> = {
  good: '✓',
  note: 'i',
  warning: '!',
  problem: '✗',
};

/** What is fine first, what is wrong last, where the eye ends up. */
export function formatFindings(findings: readonly Finding[], paint: Palette, signs: boolean): string {
  const colour = { good: paint.green, note: paint.dim, warning: paint.yellow, problem: paint.red };
  const lines = ORDER.flatMap((level) => findings.filter((one) => one.level === level)).flatMap((one) => {
    const mark = colour[one.level](signs ? SIGNS[one.level] : one.level.padEnd(7));
    const where = one.where === undefined ? '' : `${one.where}: `;
    const text = `${mark} ${one.about}: ${where}${one.message}`;
    return one.remedy === undefined ? [text] : [text, `    ${paint.dim('→')} ${one.remedy}`];
  });
  const count = (level: Finding['level'], noun: string) => {
    const number = findings.filter((one) => one.level === level).length;
    return `${number} ${noun}${number === 1 ? '' : 's'}`;
  };
  return `${lines.join('\n')}\n\n${count('problem', 'problem')}, ${count('warning', 'warning')}\n`;
}
