import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ADDRESSES, type ClusterLayout } from './layout.ts';

const OPENSSL_TIMEOUT_MS = 20_000;
const validDays = 30;

/** Who a certificate is for. `names` of the server as openssl writes them: `IP:10.200.0.11`, `DNS:node-1`. */
interface Holder {
  /** Of its files: `<file>.crt` and `<file>.key`. */
  readonly file: string;
  readonly subject: string;
  readonly names?: readonly string[];
}

/** The users of the control plane's programs: https://kubernetes.io/docs/setup/best-practices/certificates/. */
export const USERS = {
  admin: '/O=system:masters/CN=kubernetes-admin',
  'kube-controller-manager': '/CN=system:kube-controller-manager',
  'kube-scheduler': '/CN=system:kube-scheduler',
} as const;

/** Makes the cluster's CA, all certificates under it, and the key that signs tokens of ServiceAccounts. */
export function makeCertificates({ pki, first, nodes }: ClusterLayout): void {
  mkdirSync(pki, { recursive: true, mode: 0o700 });
  makeKey(pki, 'ca');
  openssl(
    pki,
    'req',
    '-x509',
    '-new',
    '-key',
    'ca.key',
    '-subj',
    '/CN=heddle-test-kubernetes',
    ...days(),
    '-out',
    'ca.crt',
  );
  makeKey(pki, 'sa');
  openssl(pki, 'pkey', '-in', 'sa.key', '-pubout', '-out', 'sa.pub');
  const names = [
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
  ];
  const addresses = ['127.0.0.1', first.ip4, first.ip6, ADDRESSES.apiServerServiceIp];
  const holders: readonly Holder[] = [
    {
      ...{ file: 'apiserver', subject: '/CN=kube-apiserver' },
      names: [...addresses.map((one) => `IP:${one}`), ...['localhost', ...names].map((one) => `DNS:${one}`)],
    },
    { file: 'apiserver-kubelet-client', subject: '/O=system:masters/CN=kube-apiserver-kubelet-client' },
    { file: 'front-proxy-client', subject: '/CN=front-proxy-client' },
    ...Object.entries(USERS).map(([file, subject]) => ({ file, subject })),
    ...nodes.map(({ name, ip4, ip6 }) => ({
      ...{ file: name, subject: `/O=system:nodes/CN=system:node:${name}` },
      names: [`IP:${ip4}`, `IP:${ip6}`, `DNS:${name}`],
    })),
  ];
  for (const holder of holders) issue(pki, holder);
}

/** A kubeconfig that holds everything itself, for a user whose certificate is `<user>.crt`. */
export function kubeconfigOf(pki: string, user: string, server: string): string {
  const data = (file: string) => readFileSync(join(pki, file)).toString('base64');
  return `${JSON.stringify(
    {
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'test' },
      clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': data('ca.crt') } }],
      users: [
        {
          name: user,
          user: { 'client-certificate-data': data(`${user}.crt`), 'client-key-data': data(`${user}.key`) },
        },
      ],
      contexts: [{ name: 'test', context: { cluster: 'test', user } }],
    },
    undefined,
    2,
  )}\n`;
}

function issue(pki: string, { file, subject, names = [] }: Holder): void {
  makeKey(pki, file);
  openssl(pki, 'req', '-new', '-key', `${file}.key`, '-subj', subject, '-out', `${file}.csr`);
  const usage = names.length === 0 ? 'clientAuth' : 'serverAuth,clientAuth';
  const lines = [
    `extendedKeyUsage=${usage}`,
    ...(names.length === 0 ? [] : [`subjectAltName=${names.join(',')}`]),
  ];
  writeFileSync(join(pki, `${file}.ext`), `${lines.join('\n')}\n`);
  const ca = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'];
  openssl(
    pki,
    'x509',
    '-req',
    '-in',
    `${file}.csr`,
    ...ca,
    ...days(),
    '-extfile',
    `${file}.ext`,
    '-out',
    `${file}.crt`,
  );
}

function days(): readonly string[] {
  return ['-days', String(validDays)];
}

function makeKey(pki: string, file: string): void {
  openssl(pki, 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${file}.key`);
}

function openssl(pki: string, ...args: readonly string[]): void {
  execFileSync('openssl', args, {
    cwd: pki,
    timeout: OPENSSL_TIMEOUT_MS,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}
