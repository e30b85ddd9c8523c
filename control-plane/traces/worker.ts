import { getPriority, setPriority } from 'node:os';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import { jsonLogger } from '../../common/log.ts';
import { answerQuestion } from './questions.ts';
import { startOtlpReceivers } from './receivers.ts';
import { openTraceStore } from './store.ts';
import type { FromThread, ToThread, TraceThreadData } from './thread-messages.ts';

/** A little nicer than the rest: configuration and the apps themselves come before their traces. */
const THREAD_NICENESS = 5;

/** Runs the receivers and the store until told to close. */
async function serve(port: MessagePort, data: TraceThreadData): Promise<void> {
  const say = (message: FromThread) => port.postMessage(message);
  const log = jsonLogger(systemClock, (line) => process.stdout.write(line), data.logLevel);
  const { path, diskBytesMax } = data;
  const store = openTraceStore({ path, clock: systemClock, log, limits: { diskBytesMax } });
  const receivers = await startOtlpReceivers({
    ...{ store, listen: data.listen, grpcPort: data.grpcPort, httpPort: data.httpPort, log },
  }).catch((thrown: unknown) => {
    store.close();
    throw thrown;
  });
  store.onChange(() => say({ kind: 'changed', counters: store.counters() }));
  port.on('message', (message: ToThread) => {
    if (message.kind === 'close') {
      void receivers.close().then(() => {
        store.close();
        // Ends the thread, not the process: a client that has connected and said nothing would keep it.
        process.exit();
      });
      return;
    }
    const { id, question, asText } = message;
    try {
      const value = answerQuestion(store, question);
      say({ kind: 'answer', id, value: asText ? Buffer.from(JSON.stringify(value)) : value });
    } catch (thrown) {
      say({ kind: 'error', id, message: messageOf(thrown) });
    }
  });
  say({ kind: 'listening', grpcPort: receivers.grpcPort, httpPort: receivers.httpPort });
}

/** The whole program of the trace thread: `main.ts` calls it where it finds itself to be one. */
export async function runTraceThread(): Promise<void> {
  if (parentPort === null) throw new Error('the trace thread has no parent');
  // On Linux a thread has a priority of its own; elsewhere this would slow the whole process.
  // Never the other way: a process that was started nicer stays so, and may not take that back.
  if (process.platform === 'linux' && getPriority() < THREAD_NICENESS) setPriority(THREAD_NICENESS);
  const port = parentPort;
  try {
    await serve(port, workerData as TraceThreadData);
  } catch (thrown) {
    port.postMessage({ kind: 'failed', message: messageOf(thrown) } satisfies FromThread);
    port.close();
  }
}
