/** eBPF from TypeScript: one import for the parts, each of which stands in a file of its own. */
export { attachClsact, type ClsactPlace, clsactProgramId, detachClsact } from './bpf-clsact.ts';
export {
  ATTACH,
  type AttachType,
  BpfLink,
  createLink,
  type LinkInfo,
  type LinkTarget,
  openPinnedLink,
} from './bpf-link.ts';
export { BpfMap, type MapInfo, openPinnedMap, type UpdateMode } from './bpf-map.ts';
export { BpfObject, OpenBpfObject, openObject } from './bpf-object.ts';
export {
  BpfProgram,
  openPinnedProgram,
  type ProgramInfo,
  type TestResult,
  type TestRun,
} from './bpf-program.ts';
export { RingReader, ringPollMs, ringRecordsPerPollMax } from './bpf-ring.ts';
