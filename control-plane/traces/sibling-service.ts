import { type handleUnaryCall, type ServiceDefinition, status } from '@grpc/grpc-js';
import { controlPlaneIdentity, isControlPlane } from '../../common/ca/control-plane-tls.ts';
import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { type Question, readQuestion } from './questions.ts';

/** Of one answer to another replica; a trace of ten spans is about 20 KiB. Larger ones aren't sent. */
export const siblingAnswerBytesMax = 16 * 1024 * 1024;

/** Questions and answers as JSON: both ends are control planes, and their spans are JSON wherever they are kept. */
export const SIBLING_SERVICE = {
  ask: {
    path: '/heddle.traces.v1.Traces/Ask',
    requestStream: false,
    responseStream: false,
    requestSerialize: (bytes: Buffer) => bytes,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes,
  },
} as const satisfies ServiceDefinition;

export interface SiblingServiceOptions {
  /** The answer of this replica's own store as the bytes of its JSON. */
  readonly text: (question: Question) => Promise<Uint8Array>;
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface SiblingService {
  readonly ask: handleUnaryCall<Buffer, Buffer>;
}

/** Answers other replicas from this one's own store; whoever isn't a control plane of this mesh gets nothing. */
export function siblingService(options: SiblingServiceOptions): SiblingService {
  const { text, trustDomain, clock, log } = options;
  return {
    ask(call, callback) {
      const refuse = (code: status, details: string) => callback({ code, details });
      // Undefined unless TLS has verified it; a connection may outlive it.
      const peer = call.getAuthContext().sslPeerCertificate;
      const isCurrent = peer !== undefined && Date.parse(peer.valid_to) > clock.wallMs();
      if (!isCurrent || !isControlPlane(peer, trustDomain)) {
        log.warn('traces were not told', {
          reason: 'no certificate of a control plane',
          from: call.getPeer(),
        });
        refuse(status.PERMISSION_DENIED, `only ${controlPlaneIdentity(trustDomain)} may ask for traces`);
        return;
      }
      const question = readQuestion(call.request);
      if (question === undefined) {
        refuse(status.UNIMPLEMENTED, 'this release knows no such question');
        return;
      }
      text(question).then(
        (bytes) => {
          if (bytes.byteLength > siblingAnswerBytesMax)
            refuse(status.RESOURCE_EXHAUSTED, `the answer has more than ${siblingAnswerBytesMax} bytes`);
          else callback(null, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
        },
        (thrown: unknown) => {
          log.warn('traces could not be told to another replica', { error: messageOf(thrown) });
          refuse(status.INTERNAL, `its trace store failed: ${messageOf(thrown)}`);
        },
      );
    },
  };
}
