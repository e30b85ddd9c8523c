import type { AppProtocol } from './snapshot.ts';

const PROTOCOLS: ReadonlyMap<string, AppProtocol> = new Map([
  ['http', 'http'],
  ['http1', 'http'],
  // gRPC-Web is HTTP/1.1 on the wire, whatever it is translated to behind it.
  ['grpc-web', 'http'],
  ['kubernetes.io/ws', 'http'],
  ['http2', 'http2'],
  ['h2c', 'http2'],
  ['kubernetes.io/h2c', 'http2'],
  ['grpc', 'grpc'],
  ['tcp', 'tcp'],
  ['kubernetes.io/tcp', 'tcp'],
  ['tls', 'tls'],
  ['https', 'tls'],
  ['kubernetes.io/wss', 'tls'],
]);

/** What an `appProtocol` says is spoken; undefined where it isn't one that the mesh knows. */
export function declaredProtocol(appProtocol: string): AppProtocol | undefined {
  return PROTOCOLS.get(appProtocol.toLowerCase());
}

/**
 * `appProtocol`, then the port's name up to its first dash (`grpc-web` is a word of its own); `auto`, which means
 * detection, where neither says anything known.
 */
export function protocolOf(appProtocol: string | undefined, portName: string): AppProtocol {
  const declared = appProtocol === undefined ? undefined : declaredProtocol(appProtocol);
  if (declared !== undefined) return declared;
  const [first = '', second = ''] = portName.split('-');
  return declaredProtocol(`${first}-${second}`) ?? declaredProtocol(first) ?? 'auto';
}
