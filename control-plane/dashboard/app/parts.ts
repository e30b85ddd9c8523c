/// <reference lib="dom" />
import type { ComponentChildren } from 'preact';
import { hue } from './format.ts';
import { html } from './html.ts';

export interface ReasonView {
  readonly stage: string;
  readonly subject: string;
  readonly outcome: string;
  readonly text: string;
}

const MARKS: Readonly<Record<string, string>> = { chosen: '✓', rejected: '✕', skipped: '–', info: '·' };

/** A decision's reasons in order, each saying what was looked at and how it came out. */
export function Reasons({ reasons }: { readonly reasons: readonly ReasonView[] }) {
  return html`<ol class="reasons">
    ${reasons.map((reason, index) => {
      const outcome = Object.hasOwn(MARKS, reason.outcome) ? reason.outcome : 'info';
      return html`<li key=${index} class=${`reason ${outcome}`}>
        <span class="mark" aria-hidden="true">${MARKS[outcome]}</span>
        <div>
          <p class="reason-head"><span class="stage">${String(reason.stage)}</span> <span class="muted">${outcome}</span></p>
          <p>${String(reason.text)}</p>
          <p class="mono muted small">${String(reason.subject)}</p>
        </div>
      </li>`;
    })}
  </ol>`;
}

export function Service({ name }: { readonly name: string }) {
  return html`<span class="service"><i class=${`dot hue-${hue(name)}`}></i>${name}</span>`;
}

export function Empty({
  title,
  children,
}: {
  readonly title: string;
  readonly children?: ComponentChildren;
}) {
  return html`<div class="empty"><h2>${title}</h2><div>${children}</div></div>`;
}

export interface MissingView {
  readonly replica: string;
  readonly message: string;
}

/** Replicas of the control plane whose traces are not in what is shown. */
export function Missing({ replicas }: { readonly replicas: readonly MissingView[] | undefined }) {
  return (replicas ?? []).map(
    ({ replica, message }) =>
      html`<p key=${replica} class="banner warn" role="status">The traces of replica <strong>${replica}</strong> are missing: ${message}.</p>`,
  );
}

export function Failure({ error }: { readonly error: string | undefined }) {
  if (error === undefined) return null;
  return html`<p class="banner" role="alert">${error}</p>`;
}
