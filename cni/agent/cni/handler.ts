import { HeddleError } from '../../../common/errors.ts';
import type { HostPort } from '../local-pods.ts';

/**
 * Error codes of CNI specification 1.1, section 5; from 100 on a plugin's own. 999 is what the reference library says of
 * an error without a code.
 */
export const CNI_CODES = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfig: 7,
  tryAgainLater: 11,
  notAvailable: 50,
  limitedConnectivity: 51,
  internal: 999,
} as const;
export type CniCode = (typeof CNI_CODES)[keyof typeof CNI_CODES];

/** A refusal as the runtime will see it: number, one sentence, and what else helps. */
export class CniError extends HeddleError {
  readonly cniCode: CniCode;
  readonly details: string;
  constructor(cniCode: CniCode, message: string, details = '', options?: { cause?: unknown }) {
    super('cni', message, options);
    this.name = 'CniError';
    this.cniCode = cniCode;
    this.details = details;
  }
}

/** Names one attachment: the pair that the runtime repeats at CHECK, DEL and GC. */
export interface CniAttachment {
  readonly containerId: string;
  readonly ifname: string;
}

/** The pod as `CNI_ARGS` names it (`K8S_POD_*`, set by containerd and CRI-O). */
export interface CniPod {
  readonly namespace: string;
  readonly name: string;
  /** Older runtimes don't tell. */
  readonly uid: string | undefined;
}

/** `full`: Heddle makes the interface. `capture`: another plugin made it (`prevResult`), Heddle only captures. */
export type CniMode = 'full' | 'capture';

export interface CniInterface {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  /** Path of the namespace it is in; absent on the node. */
  readonly sandbox?: string;
}

export interface CniIp {
  /** With the prefix's length: `10.244.1.7/32`. */
  readonly address: string;
  readonly gateway?: string;
  /** Index into `interfaces`. */
  readonly interface?: number;
}

export interface CniRoute {
  readonly dst: string;
  readonly gw?: string;
  readonly mtu?: number;
}

export interface CniDns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

/** What ADD made, in no version's shape. */
export interface CniResult {
  readonly interfaces: readonly CniInterface[];
  readonly ips: readonly CniIp[];
  readonly routes: readonly CniRoute[];
  readonly dns?: CniDns;
}

export interface CniAttachmentRequest extends CniAttachment {
  /** Name of the network configuration; attachments of another network are none of this call's. */
  readonly network: string;
  readonly mode: CniMode;
  readonly pod: CniPod | undefined;
  /** Aborted when the call's time is over or, before it began, when its caller is gone. */
  readonly signal: AbortSignal;
}

export interface CniAddRequest extends CniAttachmentRequest {
  /** Exists when the call begins. */
  readonly netns: string;
  readonly hostPorts: readonly HostPort[];
  /** `dns` of the network configuration. */
  readonly dns: CniDns | undefined;
  /** Of the plugin before; there in mode `capture` only. */
  readonly prevResult: CniResult | undefined;
}

export interface CniDelRequest extends CniAttachmentRequest {
  /** The namespace may be gone, or may not be named at all. */
  readonly netns: string | undefined;
}

export interface CniCheckRequest extends CniAttachmentRequest {
  readonly netns: string;
}

/**
 * What the node does for the runtime. The server calls it for one container at a time, for several containers at once, and
 * for `gc` alone. Refusals are `CniError`s; a `HeddleError` of another kind becomes code 999 with its message, or 11 where
 * its code is in `TRANSIENT_CODES`.
 */
export interface CniHandler {
  /** Idempotent for the same attachment until `del`. In mode `capture` undefined passes `prevResult` on as it came. */
  add(request: CniAddRequest): Promise<CniResult | undefined>;
  /** Succeeds as well where there is nothing to remove. */
  del(request: CniDelRequest): Promise<void>;
  /** Refuses with what is wrong. `prevResult` is the final result of the ADD. */
  check(request: CniCheckRequest, prevResult: CniResult): Promise<void>;
  /** Removes what no valid attachment of the network owns. */
  gc(network: string, valid: readonly CniAttachment[], signal: AbortSignal): Promise<void>;
  /** Refuses with 50 or 51 where pods can't be added. */
  status(signal: AbortSignal): Promise<void>;
}

/** Errors of other parts that time heals: the runtime should ask again. */
export const TRANSIENT_CODES: ReadonlySet<string> = new Set(['addresses-exhausted']);
