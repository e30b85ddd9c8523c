import { formatDuration } from '../../common/duration.ts';
import { parseClusterName } from '../../common/names.ts';
import type { Reason } from '../../model/decision-types.ts';
import type { Explanation } from '../../model/explain.ts';
import type { RetryPolicy, TimeoutPolicy } from '../../model/policy-types.ts';
import type { Palette } from './colour.ts';

/** What the control plane answers: the decision, and what it was asked and read. */
export interface ExplainAnswer extends Explanation {
  readonly from: { readonly namespace: string; readonly name: string | null };
  readonly url: string;
  /** Whose breakers, ejections and load the decision read. */
  readonly state: string;
  /** Of a trace: what the sidecar wrote down when it decided. */
  readonly recorded?: { readonly spanId: string; readonly reasons: readonly Reason[] };
}

export interface ExplanationView {
  readonly palette: Palette;
  /** Signs for a person on a terminal, words for a file. */
  readonly signs: boolean;
  readonly headers: readonly (readonly [string, string])[];
}

type Outcome = Reason['outcome'];
const SIGNS: Readonly<Record<Outcome, string>> = { chosen: '✓', rejected: '✗', skipped: '·', info: ' ' };

/** A decision as a person reads it: what happens first, then each step with its reason. */
export function formatExplanation(told: ExplainAnswer, view: ExplanationView): string {
  const lines = [...headLines(told, view), ''];
  lines.push(...verdictLines(told, view), '');
  lines.push(...ruleLines(told, view));
  const steps = told.reasons.filter((reason) => !isRule(reason, told));
  lines.push(...stepLines('Backends', clusters(steps, 'route'), view));
  lines.push(...stepLines('Endpoints', ofStage(steps, 'balance'), view));
  lines.push(...stepLines('Copies', clusters(steps, 'mirror'), view));
  lines.push(...stepLines('Faults', ofStage(steps, 'fault'), view));
  lines.push(...factLines(told, view));
  if (told.recorded !== undefined) {
    const { reasons, spanId } = told.recorded;
    const title = `Recorded when it happened (span ${spanId})`;
    const none = `${title}: no reasons, because the trace was kept only after its end`;
    lines.push(...(reasons.length === 0 ? ['', none] : stepLines(title, reasons, view)));
  }
  return `${lines.join('\n').replace(/\n{3,}/g, '\n\n')}\n`;
}

function headLines(told: ExplainAnswer, view: ExplanationView): readonly string[] {
  const { namespace, name } = told.from;
  const from = name === null ? `namespace ${namespace}` : `${namespace}/${name}`;
  return [
    view.palette.bold(`${told.request.method} ${told.url} from ${from}`),
    ...view.headers.map(([key, value]) => `  ${key}: ${value}`),
  ];
}

function verdictLines(told: ExplainAnswer, { palette }: ExplanationView): readonly string[] {
  const wait = told.delayMs === 0 ? '' : `, after a delay of ${formatDuration(told.delayMs)} by a fault`;
  if (told.answer !== null) {
    const { status, code, message } = told.answer;
    if (code === 'unknown-destination') return [message];
    return [palette.red(`The mesh itself answers ${status} (${code})${wait}`), `  ${message}`];
  }
  if (told.redirect !== null) {
    const { status, location } = told.redirect;
    return [palette.green(`The mesh itself answers ${status}${wait}: a redirect`), `  to ${location}`];
  }
  const { endpoint } = told;
  if (endpoint === null) return [];
  const pod = endpoint.pod === null ? '' : `, pod ${endpoint.pod}`;
  return [
    palette.green(`It goes to ${clusterText(told.cluster ?? '')}${pod}${wait}`),
    `  at ${endpoint.key}, ${endpoint.mtls ? `over mTLS to ${endpoint.identities.join(' or ')}` : 'in plaintext'}`,
    ...ofStage(told.reasons, 'rewrite').map(({ text }) => `  ${text}`),
  ];
}

function ruleLines(told: ExplainAnswer, view: ExplanationView): readonly string[] {
  if (told.rules.length === 0) {
    const known = told.reasons.some((one) => one.stage === 'destination' && one.outcome === 'chosen');
    return known ? [`Rules for ${told.destination}: none attached, the Service itself is the backend`] : [];
  }
  return [
    view.palette.bold(`Rules for ${told.destination}, the most specific first`),
    ...told.rules.flatMap((rule) => [
      line(rule.outcome, `${rule.rule}: ${rule.match}`, view),
      `      ${view.palette.dim(rule.why)}`,
    ]),
  ];
}

/** Reasons about rules are shown as rules already; those about backends share their stage. */
function isRule(reason: Reason, told: ExplainAnswer): boolean {
  return reason.stage === 'route' && told.rules.some((rule) => rule.rule === reason.subject);
}

function clusters(steps: readonly Reason[], stage: 'route' | 'mirror'): readonly Reason[] {
  return ofStage(steps, stage).map((reason) => ({ ...reason, subject: clusterText(reason.subject) }));
}

function ofStage(steps: readonly Reason[], stage: Reason['stage']): readonly Reason[] {
  return steps.filter((reason) => reason.stage === stage);
}

function stepLines(title: string, steps: readonly Reason[], view: ExplanationView): readonly string[] {
  if (steps.length === 0) return [];
  return [
    '',
    view.palette.bold(title),
    ...steps.map((step) => line(step.outcome, `${step.subject}: ${step.text}`, view)),
  ];
}

function line(outcome: Outcome, text: string, { palette, signs }: ExplanationView): string {
  const mark = signs ? SIGNS[outcome] : outcome.padEnd(8);
  const paint = { chosen: palette.green, rejected: palette.red, skipped: palette.dim, info: palette.dim };
  return `  ${paint[outcome](mark)} ${text}`;
}

function factLines(told: ExplainAnswer, { palette }: ExplanationView): readonly string[] {
  const facts: [string, string][] = [];
  if (told.timeouts !== null) facts.push(['Timeouts', timeoutText(told.timeouts)]);
  if (told.retry !== null) facts.push(['Retries', retryText(told.retry)]);
  if (told.breaker !== null) facts.push(['Breaker', breakerText(told.breaker)]);
  facts.push(['Decided with', told.state]);
  return ['', ...facts.map(([name, text]) => `${palette.bold(name.padEnd(12))}   ${text}`)];
}

function timeoutText(timeouts: TimeoutPolicy): string {
  const shown = (ms: number) => (ms === 0 ? 'none' : formatDuration(ms));
  const { requestMs, backendRequestMs, connectMs, idleMs } = timeouts;
  return `request ${shown(requestMs)}, per attempt ${shown(backendRequestMs)}, to connect ${shown(connectMs)}, idle ${shown(idleMs)}`;
}

function retryText(retry: RetryPolicy): string {
  if (retry.attempts === 0) return 'never';
  const { budget } = retry;
  const codes =
    retry.codes.length === 0 ? '' : `; on status ${retry.codes.join(', ')} for ${retry.methods.join(', ')}`;
  const grpc = retry.grpcStatus.length === 0 ? '' : `; on gRPC ${retry.grpcStatus.join(', ')}`;
  const pause = `${formatDuration(retry.backoffBaseMs)} to ${formatDuration(retry.backoffMaxMs)} apart`;
  const limit = `at most ${budget.percent} % of requests, or ${budget.minPerSecond} a second`;
  return `up to ${retry.attempts} on ${retry.on.join(', ')}${codes}${grpc}; ${pause}; ${limit}`;
}

function breakerText(breaker: NonNullable<Explanation['breaker']>): string {
  switch (breaker) {
    case 'off':
      return 'none (a TrafficPolicy with circuitBreaker would add one)';
    case 'closed':
      return 'closed: requests pass';
    case 'open':
      return 'open: requests are answered at once';
    case 'half-open':
      return 'half-open: one request tries whether the destination is back';
    default:
      return breaker satisfies never;
  }
}

/** `shop/catalog-v2 port 80`, of a cluster's long name. */
function clusterText(cluster: string): string {
  const parts = parseClusterName(cluster);
  return parts === undefined ? cluster : `${parts.namespace}/${parts.name} port ${parts.port}`;
}
