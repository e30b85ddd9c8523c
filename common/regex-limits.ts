/**
 * RE2's instructions of one regular expression: what a request costs that it is matched with grows with them and with the text. A
 * repetition counts as often as it may repeat: `[a-z0-9-]{1,63}` has 127.
 */
export const regexProgramSizeMax = 1_000;
