/// <reference lib="dom" />
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { type Browser, chromium, type Page } from 'playwright-core';
import { systemClock } from '../../common/clock.ts';
import { silentLogger } from '../../common/log.ts';
import { type Dashboard, startDashboard } from '../../control-plane/dashboard/server.ts';
import { DEFAULT_TRACE_LIMITS } from '../../control-plane/traces/limits.ts';
import { decodeJsonExport } from '../../control-plane/traces/otlp-json.ts';
import { storedTraces } from '../../control-plane/traces/questions.ts';
import { readerOf } from '../../control-plane/traces/reader.ts';
import { openTraceStore, type TraceStore } from '../../control-plane/traces/store.ts';
import { dropRecord, HOSTILE, SeedDrops, seedDrops, seedExport, seedView } from './seed.ts';

const CHROMIUM = process.env.HEDDLE_CHROMIUM ?? '/usr/bin/chromium';
const absent = !existsSync(CHROMIUM) && process.env.HEDDLE_REQUIRE_ALL_TIERS !== '1';
const options = { skip: absent ? `chromium is not installed at ${CHROMIUM}` : false };

let browser: Browser;
let dashboard: Dashboard;
let store: TraceStore;
let drops: SeedDrops;

before(async () => {
  if (absent) return;
  store = openTraceStore({ path: ':memory:', clock: systemClock, log: silentLogger });
  store.add(decodeJsonExport(JSON.stringify(seedExport(Date.now())), DEFAULT_TRACE_LIMITS).spans);
  drops = new SeedDrops();
  dashboard = await startDashboard({
    ...{ view: seedView(), traces: readerOf(store), drops, listen: '127.0.0.1', port: 0 },
    ...{ log: silentLogger, clock: systemClock },
  });
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
});

after(async () => {
  if (absent) return;
  await browser?.close();
  await dashboard?.close();
  store?.close();
});

interface Visit {
  readonly path: string;
  readonly width?: number;
  readonly scheme?: 'light' | 'dark';
}

/** Opens a page; afterwards the console must have been quiet, which is also how a broken CSP would show. */
async function visit({ path, width = 1280, scheme = 'light' }: Visit, look: (page: Page) => Promise<void>) {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: scheme });
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(`http://127.0.0.1:${dashboard.port}${path}`);
  await page.getByRole('heading', { level: 1 }).waitFor({ timeout: 5_000 });
  await look(page);
  const shots = process.env.HEDDLE_SCREENSHOTS;
  if (shots !== undefined) {
    const name = path.replaceAll(/[^a-z]+/g, '-');
    await page.screenshot({ path: `${shots}/${name}${width}-${scheme}.png`, fullPage: true });
  }
  await page.close();
  assert.deepEqual(complaints, []);
}

const TRACE = '2'.padStart(32, 'a');

test('the list shows the traces, their retries and errors', options, () =>
  visit({ path: '/traces' }, async (page) => {
    await page.locator('.trace').first().waitFor();
    assert.equal(await page.locator('.trace').count(), 12);
    assert.ok((await page.getByText('1 retry').count()) > 0);
    assert.ok((await page.getByText(/\d errors?$/).count()) > 0);
  }),
);

test('markup in a span name is shown as text', options, () =>
  visit({ path: '/traces' }, async (page) => {
    await page.getByText(HOSTILE).first().waitFor();
    assert.equal(await page.evaluate(() => 'hacked' in window), false);
    assert.equal(await page.locator('.traces img').count(), 0);
  }),
);

test('a waterfall opens from the list and shows attempts and reasons', options, () =>
  visit({ path: '/traces' }, async (page) => {
    await page.locator(`a[href="/traces/${TRACE}"]`).click();
    await page.getByText('attempt 2').waitFor();
    await page.locator('.span-row').nth(1).click();
    await page.getByText('header x-user is absent, "beta" is wanted').waitFor();
    assert.equal(await page.locator('.reason.chosen').count(), 3);
  }),
);

test('a failed copy is marked as one, and is no error of its trace', options, () =>
  visit({ path: `/traces/${'1'.padStart(32, 'a')}` }, async (page) => {
    await page.locator('.span.copy').first().waitFor();
    assert.equal(await page.locator('.span.copy').count(), 2);
    assert.equal(await page.locator('.span:not(.copy).failed').count(), 0);
    assert.match((await page.locator('h1 + p').textContent()) ?? '', /· 20\.0 ms ·/);
    await page.locator('.crumb a').click();
    const line = page.locator(`a[href="/traces/${'1'.padStart(32, 'a')}"]`);
    const chips = await line.locator('.chip').allTextContents();
    assert.ok(chips.includes('1 copy'), chips.join());
    assert.ok(!chips.some((chip) => chip.includes('error')), chips.join());
    await page.locator('nav').getByText('Overview').click();
    await page.locator('tr', { hasText: 'shadow' }).getByText('1 copy').waitFor();
  }),
);

test('a dropped packet appears by itself, with its ends, its port and the policy', options, () =>
  visit({ path: '/' }, async (page) => {
    await page.getByRole('heading', { name: 'No packet was dropped' }).waitFor();
    drops.add(...seedDrops());
    const row = page.locator('.drops tbody tr').first();
    await row.waitFor();
    const text = (await row.locator('td').allTextContents()).join(' ').replaceAll(/\s+/g, ' ');
    assert.match(text, /shop\/visitor-5f9c7d8b6-x2v4z → shop\/payments-6c8f7d5b9c-q8w2k TCP 8080 policy/);
    assert.match(text, /shop\/payments-from-web-only ingress, node-1 48213/);
    assert.equal(await page.locator('.drops tbody tr').count(), 3);
    drops.add(dropRecord(4, { at: '2026-01-02T10:20:31.000Z' }));
    await page.getByText('48214').waitFor();
    assert.equal(await page.locator('.drops tbody tr').count(), 3, 'packets of one flow are one row');
  }),
);

test('a node that can not be asked is said', options, async () => {
  drops.connected = 1;
  await visit({ path: '/' }, (page) => page.getByText("1 node of 2 can't be asked at the moment").waitFor());
  drops.connected = 2;
});

test('without a pod network the page says that drops are not known', options, async () => {
  const other = await startDashboard({
    ...{ view: seedView(), traces: readerOf(store), listen: '127.0.0.1', port: 0 },
    ...{ log: silentLogger, clock: systemClock },
  });
  try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${other.port}/`);
    await page.getByText('Drops are known with the pod network only').waitFor();
    await page.close();
  } finally {
    await other.close();
  }
});

test('pages with traces name the replica whose traces they lack, and show the others', options, async () => {
  const silent = storedTraces(() => Promise.reject(new Error("it can't be reached")));
  const other = await startDashboard({
    ...{ view: seedView(), traces: readerOf(store), listen: '127.0.0.1', port: 0 },
    ...{ siblings: () => [{ name: 'cp-b', traces: silent }], log: silentLogger, clock: systemClock },
  });
  try {
    const page = await browser.newPage();
    for (const [path, shown] of [
      ['/', '.table'],
      ['/traces', '.trace'],
      [`/traces/${TRACE}`, '.span-row'],
    ] as const) {
      await page.goto(`http://127.0.0.1:${other.port}${path}`);
      await page.locator(shown).first().waitFor();
      const notice = page
        .getByRole('status')
        .filter({ hasText: "replica cp-b are missing: it can't be reached" });
      await notice.waitFor();
      assert.equal(await notice.count(), 1, path);
    }
    await page.close();
  } finally {
    await other.close();
  }
});

for (const width of [1280, 390]) {
  for (const scheme of ['light', 'dark'] as const) {
    test(`every page fits ${width} px, ${scheme}`, options, async () => {
      for (const path of ['/', '/traces', `/traces/${TRACE}`, '/objects', '/sidecars', '/explain']) {
        await visit({ path, width, scheme }, async (page) => {
          await page.waitForLoadState('load');
          if (path.startsWith('/traces/')) await page.locator('.span-row').nth(1).click();
          if (path === '/') await page.locator('.table.drops').waitFor();
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(overflow <= 0, `${path} is ${overflow} px too wide`);
          const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
          assert.equal(background, scheme === 'light' ? 'rgb(247, 247, 249)' : 'rgb(16, 17, 22)');
        });
      }
    });
  }
}

test('no inline script could run', options, async () => {
  const response = await fetch(`http://127.0.0.1:${dashboard.port}/`);
  const policy = response.headers.get('content-security-policy') ?? '';
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe/);
  await response.body?.cancel();
});
