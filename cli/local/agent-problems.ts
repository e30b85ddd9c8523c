import type { Clock, Timer } from '../../common/clock.ts';
import { type AgentAnswer, agentProblems } from '../client/agents.ts';
import { News } from './news.ts';

/** How often agents are asked. */
const askMs = 1_000;

export interface AgentProblemsInput {
  readonly clock: Clock;
  /** Asks all agents. */
  readonly ask: () => Promise<readonly AgentAnswer[]>;
  /** Paths inside of it are shown short. */
  readonly cwd: string;
  readonly warn: (line: string) => void;
}

/** Tells, once each, what the nodes' agents can't use of NetworkPolicies and Services: they alone read all of these. */
export class AgentProblems {
  readonly #input: AgentProblemsInput;
  readonly #news: News;
  readonly #timer: Timer;
  #asking = false;

  constructor(input: AgentProblemsInput) {
    this.#input = input;
    this.#news = new News(input.cwd);
    this.#timer = input.clock.every(askMs, () => void this.#look());
  }

  close(): void {
    this.#timer.cancel();
  }

  async #look(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    const answers = await this.#input.ask();
    this.#asking = false;
    // One that is being started again answers a later question; until then nothing is known to have gone.
    if (answers.some((answer) => 'error' in answer)) return;
    for (const line of this.#news.problems(agentProblems(answers))) this.#input.warn(line);
  }
}
