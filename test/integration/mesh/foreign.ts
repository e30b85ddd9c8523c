import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A key and a self-signed certificate with the given SPIFFE ID, made by openssl: no CA of the mesh had a hand in it. */
export function foreignCredentials(uri: string): {
  readonly keyPem: string;
  readonly certificatePem: string;
} {
  const directory = mkdtempSync(join(tmpdir(), 'heddle-foreign-'));
  try {
    const key = join(directory, 'key.pem');
    const certificate = join(directory, 'cert.pem');
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
        ...[
          '-keyout',
          key,
          '-out',
          certificate,
          '-subj',
          '/O=elsewhere',
          '-addext',
          `subjectAltName=URI:${uri}`,
        ],
      ],
      { stdio: 'ignore' },
    );
    return { keyPem: readFileSync(key, 'utf8'), certificatePem: readFileSync(certificate, 'utf8') };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
