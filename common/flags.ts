import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import { HeddleError, messageOf, type Result } from './errors.ts';

type Parsed<F extends ParseArgsOptionsConfig> = ReturnType<
  typeof parseArgs<{ args: string[]; options: F; allowPositionals: false; strict: true }>
>['values'];

/** The flags of one of the mesh's own processes; `help` where it asks for help. Unknown ones and words beside them are wrong. */
export function readFlags<const F extends ParseArgsOptionsConfig>(
  args: readonly string[],
  flags: F,
): Result<Parsed<F> | 'help'> {
  try {
    const { values } = parseArgs({ args: [...args], options: flags, allowPositionals: false, strict: true });
    return { ok: true, value: 'help' in values && values.help === true ? 'help' : values };
  } catch (thrown) {
    return wrongUsage(messageOf(thrown));
  }
}

/** A command line that can't be used, with what to do about it. */
export function wrongUsage(message: string): { readonly ok: false; readonly error: HeddleError } {
  return { ok: false, error: new HeddleError('usage', message) };
}
