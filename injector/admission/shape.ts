import { reviewDepthMax, reviewValuesMax } from './limits.ts';

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const OPENING: readonly number[] = [0x5b, 0x7b];
const CLOSING: readonly number[] = [0x5d, 0x7d];

/**
 * Why a text of JSON isn't worth to be parsed: a few megabytes of nothing but brackets and keys would become a hundred of
 * objects. What is no JSON at all is found by the parser.
 */
export function shapeFault(text: string): string | undefined {
  let [values, depth, inText] = [0, 0, false];
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (inText) {
      if (code === BACKSLASH) index++;
      else if (code === QUOTE) inText = false;
    } else if (code === QUOTE) inText = true;
    else if (code === COMMA) values++;
    else if (OPENING.includes(code)) {
      values++;
      depth++;
      if (depth > reviewDepthMax) return `the review is nested deeper than ${reviewDepthMax}`;
    } else if (CLOSING.includes(code)) depth--;
    if (values > reviewValuesMax) return `the review holds more than ${reviewValuesMax} values`;
  }
  return undefined;
}
