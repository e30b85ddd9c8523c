import tls from 'node:tls';
import type { Credentials } from '../stage.ts';

/** Post-quantum key agreement first, then what every TLS 1.3 peer has. */
const KEY_GROUPS = 'X25519MLKEM768:X25519:P-256';

/** What both ends of mesh mTLS are set up with. */
export function contextOptions(credentials: Credentials): tls.SecureContextOptions {
  return {
    cert: credentials.certificateChainPem,
    key: credentials.privateKeyPem,
    ca: credentials.trustBundlePem,
    minVersion: 'TLSv1.3',
    ecdhCurve: KEY_GROUPS,
  };
}

/** The client's context, made once per version of the credentials: parsing PEM costs more than a handshake. */
export class ClientContexts {
  #version = -1;
  #context: tls.SecureContext | undefined;

  for(credentials: Credentials): tls.SecureContext {
    if (this.#context === undefined || this.#version !== credentials.version) {
      this.#context = tls.createSecureContext(contextOptions(credentials));
      this.#version = credentials.version;
    }
    return this.#context;
  }
}
