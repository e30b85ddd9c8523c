import { badHead, eachToken, FIELD, type Fields, fieldId, type HeadFault } from './fields.ts';

/** What a message says of its connection, besides the fields that belong to the connection alone. */
export interface ConnectionOptions {
  readonly close: boolean;
  readonly keepAlive: boolean;
  readonly upgrade: boolean;
}

/** What no sender may take from the next hop by calling it a matter of this one. */
const UNNAMEABLE = (1 << FIELD.HOST) | (1 << FIELD.EXPECT);

/**
 * Reads the value of Connection, and takes out the fields that it names (RFC 9110, section 7.6.1), so that no route is
 * chosen by what the next hop will not see. More options than
 * `optionsMax` are a fault: each is looked for among all the fields, so a long list costs more than its bytes.
 */
export function readConnectionOptions(
  fields: Fields,
  value: string,
  optionsMax: number,
): ConnectionOptions | HeadFault {
  let close = false;
  let keepAlive = false;
  let upgrade = false;
  let count = 0;
  eachToken(value, (option) => {
    if (++count > optionsMax) return;
    if (option === 'close') close = true;
    else if (option === 'keep-alive') keepAlive = true;
    else if (option === 'upgrade') upgrade = true;
    else if (((UNNAMEABLE >> fieldId(option, 0, option.length)) & 1) === 0) fields.hideName(option);
  });
  if (count > optionsMax) return badHead(`Connection has more than ${optionsMax} options`);
  return { close, keepAlive, upgrade };
}
