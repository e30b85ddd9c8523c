/** eBPF from TypeScript: one import for the parts, each of which stands in a file of its own. */
export { attachClsact, clsactProgramId, detachClsact } from './bpf-clsact.ts';
export { type AttachType, BpfLink, createLink, type LinkTarget, openPinnedLink } from './bpf-link.ts';
export { BpfMap, openPinnedMap } from './bpf-map.ts';
export { BpfObject, openObject } from './bpf-object.ts';
export { BpfProgram } from './bpf-program.ts';
export { RingReader, ringPollMs, ringRecordsPerPollMax } from './bpf-ring.ts';
