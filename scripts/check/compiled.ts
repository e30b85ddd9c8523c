import { messageOf } from '../../common/errors.ts';
import { compileObjects, staleObjects, toolchainProblem } from '../lib/bpf-objects.ts';
import { buildPlugins, pluginToolchainProblem, stalePlugins } from '../lib/plugin-binaries.ts';

interface Outcome {
  readonly ok: boolean;
  readonly lines: readonly string[];
}

/** Whether the committed eBPF objects are, byte for byte, what their sources compile to. */
export function checkCompiled(root: string, requireAll: boolean): Outcome {
  return compare(toolchainProblem, () => staleObjects(root, compileObjects(root)), requireAll);
}

/** The same for the CNI plugin. */
export function checkPlugin(root: string, requireAll: boolean): Outcome {
  return compare(pluginToolchainProblem, () => stalePlugins(root, buildPlugins(root)), requireAll);
}

/**
 * Without the pinned compiler it can't be told: skipped with a word, or a failure where everything must be proven
 * (`requireAll`).
 */
function compare(
  toolchain: () => string | undefined,
  stale: () => readonly string[],
  requireAll: boolean,
): Outcome {
  const problem = toolchain();
  if (problem !== undefined) {
    const line = requireAll ? problem : `skipped: ${problem}`;
    return { ok: !requireAll, lines: [line] };
  }
  try {
    const lines = stale();
    return { ok: lines.length === 0, lines };
  } catch (thrown) {
    return { ok: false, lines: [messageOf(thrown)] };
  }
}
