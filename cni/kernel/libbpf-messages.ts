import { callback, libbpf, libc, type Pointer } from './native.ts';

const DEBUG = 2;
/** The verifier's log comes as one message; what is longer is cut at its end. */
const messageBytesMax = 4 * 1024 * 1024;

let registered: Pointer | undefined;
let messages: string[] = [];

/**
 * What libbpf says while `task` runs, in place of its writing to stderr. The variable arguments of its messages are
 * passed on by their address, as both x86-64 and arm64 hand over a `va_list`.
 */
export function captureMessages<T>(task: () => T): { readonly result: T; readonly text: string } {
  messages = [];
  libbpf().setPrint(printer());
  try {
    const result = task();
    return { result, text: messages.join('') };
  } finally {
    messages = [];
  }
}

function printer(): Pointer {
  registered ??= callback(
    'int heddle_libbpf_print(int level, void *format, void *args)',
    (level: number, format: Pointer, args: Pointer) => {
      if (level >= DEBUG) return 0;
      const text = Buffer.alloc(messageBytesMax);
      const bytes = libc().vsnprintf(text, text.length, format, args);
      messages.push(text.toString('utf8', 0, Math.min(Math.max(bytes, 0), text.length - 1)));
      return 0;
    },
  ).pointer;
  return registered;
}
