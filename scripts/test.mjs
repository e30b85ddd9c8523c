// npm test: installs what the tests need, runs every tier but those apart, says which couldn't run and why, and closes with the counts.
// Runs on Node 20 or newer; the tests themselves run on the pinned Node.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensurePackages } from './lib/dependencies.mjs';
import { pinnedNode, ROOT } from './lib/pinned-node.mjs';
import { ensurePrograms } from './lib/system-packages.mjs';
import { readCounts } from './lib/tap-counts.mjs';
import { TIERS } from './lib/tiers.mjs';

const requireAll = process.env.HEDDLE_REQUIRE_ALL_TIERS === '1';

function run(command, args, options) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: 'inherit', ...options });
    const timer = setTimeout(() => {
      console.error(`\nstopped after ${options.timeoutMs / 60_000} minutes: ${args.slice(0, 4).join(' ')} …`);
      child.kill('SIGKILL');
    }, options.timeoutMs);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve(code ?? 1);
    });
    child.on('error', () => resolve(1));
  });
}

/** One tier: its counts, and whether it ran at all. */
async function runTier(tier, node) {
  if (tier.root === true && process.getuid?.() !== 0)
    return { ran: false, why: 'it needs root', passed: 0, failed: 0, skipped: 0 };
  const missing = ensurePrograms([...tier.needs, ...(requireAll ? (tier.proofs ?? []) : [])]);
  const unmet = missing.filter((name) => !tier.optional.includes(name));
  if (unmet.length > 0)
    return { ran: false, why: `missing: ${unmet.join(', ')}`, passed: 0, failed: 0, skipped: 0 };
  console.log(`\n── ${tier.name} ${'─'.repeat(Math.max(2, 100 - tier.name.length))}`);
  const prepared = await prepare(tier, node);
  const started = performance.now();
  if (!prepared) return { ran: true, seconds: 0, passed: 0, failed: 1, skipped: 0 };
  const counts = tier.command === undefined ? await runTestFiles(tier, node) : await runCommand(tier, node);
  return { ran: true, seconds: (performance.now() - started) / 1000, ...counts };
}

async function prepare({ prepare: commands = [], prepareTimeoutMs: timeoutMs }, node) {
  for (const command of commands) if ((await run(node, command, { timeoutMs })) !== 0) return false;
  return true;
}

async function runCommand(tier, node) {
  const code = await run(node, tier.command, { timeoutMs: tier.timeoutMs });
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
}

async function runTestFiles(tier, node) {
  const only = process.argv.slice(3);
  const { globSync } = await import('node:fs'); // Node 22 and newer, which the launcher's own Node need not be.
  const files = tier.files
    .flatMap((pattern) => globSync(pattern, { cwd: ROOT }))
    .filter(
      (file) =>
        !file.includes('node_modules') && (only.length === 0 || only.some((part) => file.includes(part))),
    )
    .sort();
  if (files.length === 0) return { passed: 0, failed: 1, skipped: 0 };
  const directory = mkdtempSync(join(tmpdir(), 'heddle-tap-'));
  const tap = join(directory, 'out.tap');
  try {
    const code = await run(
      node,
      [
        ...['--test', `--test-concurrency=${tier.concurrency}`, `--test-timeout=${tier.testTimeoutMs}`],
        ...['--test-reporter=dot', '--test-reporter-destination=stdout'],
        ...['--test-reporter=tap', `--test-reporter-destination=${tap}`, ...files],
      ],
      { timeoutMs: tier.timeoutMs, env: { ...process.env, NODE_NO_WARNINGS: '1' } },
    );
    const counts = readCounts(readFileSync(tap, 'utf8'));
    for (const line of counts.skippedNames) console.log(`skipped: ${line}`);
    if (code !== 0 && counts.failed === 0) counts.failed = 1;
    return counts;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

ensurePackages();
const node = pinnedNode();
if (realpathSync(process.execPath) !== realpathSync(node)) {
  const again = spawnSync(node, process.argv.slice(1), { stdio: 'inherit' });
  process.exit(again.status ?? 1);
}
const wanted = process.argv[2] ?? 'all';
const tiers = TIERS.filter((tier) => (wanted === 'all' ? tier.apart !== true : tier.name === wanted));
if (tiers.length === 0) {
  console.error(`no tier ${wanted}; there are: ${TIERS.map((tier) => tier.name).join(', ')}`);
  process.exit(2);
}

const total = { passed: 0, failed: 0, skipped: 0 };
const lines = [];
for (const tier of tiers) {
  const result = await runTier(tier, node);
  total.passed += result.passed;
  total.failed += result.failed;
  total.skipped += result.skipped;
  if (!result.ran && requireAll) total.failed++;
  lines.push(
    result.ran
      ? `${tier.name.padEnd(16)} ${result.passed} passed, ${result.failed} failed, ${result.skipped} skipped in ${result.seconds.toFixed(1)} s`
      : `${tier.name.padEnd(16)} NOT RUN: ${result.why}${requireAll ? ' (a failure: HEDDLE_REQUIRE_ALL_TIERS=1)' : ''}`,
  );
}
if (requireAll && total.skipped > 0) {
  lines.push(`${total.skipped} skipped tests count as failures: HEDDLE_REQUIRE_ALL_TIERS=1`);
  total.failed += total.skipped;
  total.skipped = 0;
}
console.log(`\n${lines.join('\n')}\n`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed === 0 ? 0 : 1);
