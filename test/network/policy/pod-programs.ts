import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ClusterPod } from '../../support/network/cluster.ts';
import type { CasePort } from '../../support/policy/case.ts';
import { Program } from '../sockets/program.ts';
import type { Question } from './truth-table.ts';

const CLIENT = readFileSync(fileURLToPath(new URL('sockets.py', import.meta.url)), 'utf8');

/** A program in each pod, that serves TCP and UDP there and calls the others. */
export class PodPrograms {
  readonly #programs: ReadonlyMap<string, Program>;

  private constructor(programs: ReadonlyMap<string, Program>) {
    this.#programs = programs;
  }

  static async start(
    pods: ReadonlyMap<string, ClusterPod>,
    ports: readonly CasePort[],
  ): Promise<PodPrograms> {
    const programs = new Map<string, Program>();
    const all = new PodPrograms(programs);
    const numbers = new Set(ports.map(({ port }) => port));
    try {
      for (const [name, { netns, cgroup, ip4, ip6 }] of pods) {
        const program = await Program.start({ netns, cgroup });
        programs.set(name, program);
        await program.run(CLIENT);
        for (const address of [ip4, ip6])
          for (const port of numbers) await program.run(`serve("${name}", "${address}", ${port})`);
      }
    } catch (thrown) {
      await all.stop();
      throw thrown;
    }
    return all;
  }

  in(pod: string): Program {
    const program = this.#programs.get(pod);
    if (program === undefined) throw new Error(`no program in ${pod}`);
    return program;
  }

  /** Begins to ask all of these at once, each by a socket of its own. */
  async begin(questions: readonly Question[]): Promise<void> {
    await this.#each(questions, (program, own) => {
      const targets = own.map(({ protocol, to, port }) => [protocol, to, port]);
      return program.run(`begin(${JSON.stringify(targets)})`);
    });
  }

  /** Those that were answered so far, with what the server said or the error's name. */
  async answered(questions: readonly Question[]): Promise<ReadonlyMap<Question, string>> {
    const found = new Map<Question, string>();
    await this.#each(questions, async (program, own) => {
      const answers = (await program.value('look()')) as Readonly<Record<string, string>>;
      for (const [index, text] of Object.entries(answers)) {
        const question = own[Number(index)];
        if (question !== undefined) found.set(question, text);
      }
    });
    return found;
  }

  async stop(): Promise<void> {
    for (const program of this.#programs.values()) await program.stop();
  }

  async #each(
    questions: readonly Question[],
    act: (program: Program, own: readonly Question[]) => Promise<unknown>,
  ): Promise<void> {
    const bySender = Map.groupBy(questions, ({ sender }) => sender.name);
    await Promise.all([...bySender].map(([sender, own]) => act(this.in(sender), own)));
  }
}
