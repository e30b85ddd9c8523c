import type { Random } from '../../common/random.ts';
import type {
  Answer,
  AttemptHistory,
  AttemptOutcome,
  Decision,
  DecisionState,
  Forward,
  ReasonSink,
  RequestView,
  RetryDecision,
} from '../../model/decision-types.ts';
import type { Snapshot } from '../../model/snapshot.ts';

/** The decision functions of the model, as the data path calls them. */
export interface DecisionFunctions {
  decide(
    snapshot: Snapshot,
    destinationKey: string,
    request: RequestView,
    state: DecisionState,
    now: number,
    random: Random,
    reasons?: ReasonSink,
  ): Decision;
  decideTcp(
    snapshot: Snapshot,
    destinationKey: string,
    state: DecisionState,
    now: number,
    random: Random,
    sourceAddress: string | undefined,
    reasons?: ReasonSink,
  ): Forward | Answer;
  afterAttempt(
    decision: Forward,
    outcome: AttemptOutcome,
    history: AttemptHistory,
    request: RequestView,
    state: DecisionState,
    now: number,
    random: Random,
    reasons?: ReasonSink,
  ): RetryDecision;
}
