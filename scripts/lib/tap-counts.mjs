/** Totals of a TAP report as node:test writes it, and the names of skipped tests with their reasons. */
export function readCounts(tap) {
  const last = (label) => {
    const found = [...tap.matchAll(new RegExp(`^# ${label} (\\d+)$`, 'gm'))].at(-1);
    return found === undefined ? 0 : Number(found[1]);
  };
  const skippedNames = [...tap.matchAll(/^\s*ok \d+ - (.*) # SKIP(.*)$/gm)].map(
    ([, name, why]) => `${name}:${why}`,
  );
  return {
    passed: last('pass'),
    failed: last('fail') + last('cancelled'),
    skipped: last('skipped'),
    skippedNames,
  };
}
