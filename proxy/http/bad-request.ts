import type { HeadFault } from '../codec/fields.ts';
import { Fields } from '../codec/fields.ts';
import { RequestHead } from '../codec/request-head.ts';
import { failureOfFault, faultStatus } from './answers.ts';
import type { ExchangeStages } from './exchange-stages.ts';
import type { ClientInfo } from './server-types.ts';

/** A request that could not be read is still counted: nothing of what it claimed is believed. */
export function recordBadRequest(stages: ExchangeStages, client: ClientInfo, fault: HeadFault): void {
  const now = stages.deadlines.now();
  const view = new RequestHead('', 1, new Fields(''));
  view.sourceAddress = client.remoteAddress;
  const scope = stages.telemetry.open({
    direction: stages.direction,
    view,
    authority: '',
    peer: client.peer,
    startedAtMs: now,
  });
  scope.end({
    status: faultStatus(fault),
    failure: failureOfFault(fault),
    requestBytes: 0,
    responseBytes: 0,
    endedAtMs: now,
  });
}
