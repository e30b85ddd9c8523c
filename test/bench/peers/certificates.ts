import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** Files of a CA and of certificates that it signed, each with a SPIFFE ID. */
export interface Certificates {
  readonly ca: string;
  certificate(name: string): { readonly certificate: string; readonly key: string; readonly id: string };
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];

/** Made by openssl, in `directory`. */
export function makeCertificates(directory: string): Certificates {
  const ca = join(directory, 'ca.crt');
  const caKey = join(directory, 'ca.key');
  openssl(['-subj', '/CN=bench', '-keyout', caKey, '-out', ca]);
  return {
    ca,
    certificate(name) {
      const id = `spiffe://bench/ns/bench/sa/${name}`;
      const certificate = join(directory, `${name}.crt`);
      const key = join(directory, `${name}.key`);
      const san = ['-addext', `subjectAltName=URI:${id}`, '-addext', 'basicConstraints=critical,CA:FALSE'];
      openssl([
        '-CA',
        ca,
        '-CAkey',
        caKey,
        '-subj',
        `/O=${name}`,
        ...san,
        '-keyout',
        key,
        '-out',
        certificate,
      ]);
      return { certificate, key, id };
    },
  };
}

function openssl(args: readonly string[]): void {
  execFileSync('openssl', ['req', '-x509', ...NEW_KEY, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
}
