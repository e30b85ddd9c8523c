import { isMainThread } from 'node:worker_threads';

// One module for the process and for its trace thread, so that either finds the other from source and from a bundle.
if (isMainThread) {
  const { runControlPlane } = await import('./program.ts');
  await runControlPlane(process.argv[1] ?? '', process.argv.slice(2), process.env);
} else {
  const { runTraceThread } = await import('./traces/worker.ts');
  await runTraceThread();
}
