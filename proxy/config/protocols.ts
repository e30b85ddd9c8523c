import type { AppProtocol } from '../../model/snapshot.ts';

/** What a port of an app may speak. */
export const PROTOCOLS: readonly AppProtocol[] = ['http', 'http2', 'grpc', 'tcp', 'tls', 'auto'];
