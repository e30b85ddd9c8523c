import type { HeadFault } from '../codec/fields.ts';
import type { RequestHead } from '../codec/request-head.ts';
import type { ServerConnection } from './server-connection.ts';

/** One request as its connection drives it. Every call comes from the connection's own events. */
export interface ServerExchange {
  onBody(chunk: Buffer): void;
  onBodyEnd(trailers: string): void;
  /** Everything that came with the head has been handed over: go. */
  begin(): void;
  /** All input of one read event has been handed over: write. */
  settleInput(): void;
  /** The client takes bytes again. */
  onClientDrain(): void;
  /** The body's framing is broken: nothing after it can be understood. */
  onBrokenBody(fault: HeadFault): void;
  /** The client is gone. */
  onClientGone(): void;
}

export interface ServerHandler {
  request(connection: ServerConnection, head: RequestHead): ServerExchange;
  /** A request that broke the protocol, answered by the connection itself. */
  faulty(connection: ServerConnection, fault: HeadFault): void;
  closed(connection: ServerConnection): void;
}

/** What is known of a client connection before its first request. */
export interface ClientInfo {
  readonly remoteAddress: string | undefined;
  /** The verified SPIFFE ID of the peer. */
  readonly peer: string | undefined;
}
