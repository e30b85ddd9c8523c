import { HeddleError, messageOf } from '../../../common/errors.ts';
import { writeAnswer } from './frame.ts';
import { CNI_CODES, CniError, TRANSIENT_CODES } from './handler.ts';
import { CNI_VERSIONS, type CniVersion } from './versions.ts';

/** Anything thrown as what the runtime is told. */
export function asCniError(thrown: unknown): CniError {
  if (thrown instanceof CniError) return thrown;
  const transient = thrown instanceof HeddleError && TRANSIENT_CODES.has(thrown.code);
  return new CniError(transient ? CNI_CODES.tryAgainLater : CNI_CODES.internal, messageOf(thrown), '', {
    cause: thrown,
  });
}

/** Specification 1.1, section 5, "Error". */
export function errorAnswer(version: CniVersion, { cniCode, message, details }: CniError): Buffer {
  const body = { cniVersion: version, code: cniCode, msg: message, ...(details === '' ? {} : { details }) };
  return writeAnswer(1, `${JSON.stringify(body)}\n`);
}

/** Success of a command that has something to say (`value`), or nothing. */
export function successAnswer(value?: object): Buffer {
  return writeAnswer(0, value === undefined ? '' : `${JSON.stringify(value)}\n`);
}

export function versionAnswer(asked: string): Buffer {
  return successAnswer({ cniVersion: asked, supportedVersions: CNI_VERSIONS });
}
