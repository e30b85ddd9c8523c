import { messageOf } from '../../common/errors.ts';
import { compileObjects, staleObjects, toolchainProblem } from '../lib/bpf-objects.ts';

/**
 * Whether the committed eBPF objects are, byte for byte, what their sources compile to. Without the pinned compiler that
 * can't be told: skipped with a word, or a failure where everything must be proven (`requireAll`).
 */
export function checkCompiled(
  root: string,
  requireAll: boolean,
): { readonly ok: boolean; readonly lines: readonly string[] } {
  const problem = toolchainProblem();
  if (problem !== undefined) {
    const line = requireAll ? problem : `skipped: ${problem}`;
    return { ok: !requireAll, lines: [line] };
  }
  try {
    const lines = staleObjects(root, compileObjects(root));
    return { ok: lines.length === 0, lines };
  } catch (thrown) {
    return { ok: false, lines: [messageOf(thrown)] };
  }
}
