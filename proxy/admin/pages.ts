import { X509Certificate } from 'node:crypto';
import type { DecisionStateDump } from '../../model/state.ts';
import type { StackStats } from '../stack.ts';
import type { ConfigStage, IdentityStage } from '../stage.ts';
import type { LinkStatus } from '../xds/control-plane-link.ts';
import type { SnapshotContents } from '../xds/snapshots.ts';
import { isRead, json, NOT_FOUND, notAllowed, type PageAnswer, type PageHandler, text } from './answer.ts';

/** What the read-only pages show. */
export interface AdminView {
  readonly config: Pick<ConfigStage, 'inbound'>;
  readonly identity: Pick<IdentityStage, 'current'>;
  readonly link: () => LinkStatus;
  readonly contents: () => SnapshotContents;
  readonly liveState: () => DecisionStateDump;
  readonly stack: () => StackStats;
  /** Of the process: uptime and memory. */
  readonly process: () => ProcessStats;
  /** This pod and the version that runs. */
  readonly about: Readonly<Record<string, string>>;
}

export interface ProcessStats {
  readonly uptimeMs: number;
  readonly residentBytes: number;
  readonly heapUsedBytes: number;
}

interface Page {
  readonly path: string;
  readonly about: string;
  readonly show: (view: AdminView) => unknown;
}

/** Nothing here changes anything, and nothing here shows a key. */
export const READ_ONLY_PAGES: readonly Page[] = [
  { path: '/config', about: 'what the control plane has sent and is in force', show: showConfig },
  {
    path: '/clusters',
    about: 'destinations with their endpoints, and how each is doing',
    show: showClusters,
  },
  { path: '/certs', about: "this workload's certificate and the roots it trusts", show: showCertificates },
  {
    path: '/breakers',
    about: 'breakers, ejections and load, as decisions read them',
    show: (view) => view.liveState(),
  },
  { path: '/stats', about: 'connections, the control plane and the process', show: showStats },
];

export function readOnlyPages(view: AdminView): PageHandler {
  return (request) => {
    if (!isRead(request)) return notAllowed('GET', 'HEAD');
    if (request.path === '/') return index(READ_ONLY_PAGES, []);
    const page = READ_ONLY_PAGES.find(({ path }) => path === request.path);
    return page === undefined ? NOT_FOUND : json(page.show(view));
  };
}

export function index(
  pages: readonly Pick<Page, 'path' | 'about'>[],
  actions: readonly { readonly path: string; readonly about: string }[],
): PageAnswer {
  const line = (method: string, { path, about }: { path: string; about: string }) =>
    `${method.padEnd(5)}${path.padEnd(26)}${about}`;
  return text(
    200,
    [
      'heddle-proxy',
      ...pages.map((page) => line('GET', page)),
      ...actions.map((one) => line('POST', one)),
    ].join('\n'),
  );
}

function showConfig(view: AdminView): unknown {
  const { destinations } = view.contents();
  return { ...view.about, inbound: view.config.inbound() ?? null, destinations };
}

function showClusters(view: AdminView): unknown {
  const states = view.liveState().clusters;
  return view.contents().clusters.map((cluster) => ({ ...cluster, state: states[cluster.name] ?? null }));
}

function showStats(view: AdminView): unknown {
  return { ...view.about, proxy: view.stack(), controlPlane: showLink(view.link()), process: view.process() };
}

function showLink(link: LinkStatus): unknown {
  const { lastResponseAtMs, certificateExpiresAtMs, certificateRenewalAtMs, ...rest } = link;
  return {
    ...rest,
    lastResponseAt: timeText(lastResponseAtMs),
    certificateExpiresAt: timeText(certificateExpiresAtMs),
    certificateRenewalAt: timeText(certificateRenewalAtMs),
  };
}

function showCertificates(view: AdminView): unknown {
  const current = view.identity.current();
  if (current === undefined) return { identity: null, chain: [], roots: [] };
  return {
    identity: current.identity,
    version: current.version,
    renewalAt: timeText(view.link().certificateRenewalAtMs),
    chain: certificatesIn(current.certificateChainPem),
    roots: certificatesIn(current.trustBundlePem),
  };
}

function certificatesIn(pem: string): unknown[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => {
    const certificate = new X509Certificate(block);
    return {
      subject: certificate.subject || null,
      issuer: certificate.issuer,
      names: certificate.subjectAltName ?? null,
      serial: certificate.serialNumber,
      validFrom: certificate.validFromDate.toISOString(),
      validTo: certificate.validToDate.toISOString(),
      sha256: certificate.fingerprint256,
    };
  });
}

function timeText(atMs: number | undefined): string | null {
  return atMs === undefined ? null : new Date(atMs).toISOString();
}
