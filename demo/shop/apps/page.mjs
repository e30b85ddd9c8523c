// The shop's page as HTML.
const escapeHtml = (text) => String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
const money = (cents) => `€${(cents / 100).toFixed(2)}`;

const STYLE = `
:root{color-scheme:light dark;--bg:#f7f4ef;--card:#fff;--ink:#221c16;--soft:#6d6358;--line:#e5ddd2;--accent:#a4471c;--sale:#b3261e;--ok:#2d6a3e}
@media (prefers-color-scheme:dark){:root{--bg:#171411;--card:#221d18;--ink:#f2ebe2;--soft:#a89c8e;--line:#3a322a;--accent:#f0935f;--sale:#ff8a80;--ok:#8fd19e}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 20px 48px}header{display:flex;flex-wrap:wrap;align-items:baseline;gap:6px 16px;margin-bottom:20px}
h1{margin:0;font:600 30px/1.2 Georgia,serif}h2{font:600 18px/1.3 Georgia,serif;margin:28px 0 10px}
.soft{color:var(--soft);font-size:14px}.tag{border:1px solid var(--line);border-radius:999px;padding:2px 10px;font-size:13px;background:var(--card)}
.tag.v2{border-color:var(--sale);color:var(--sale);font-weight:600}.goods{display:grid;gap:16px;grid-template-columns:repeat(auto-fill,minmax(210px,1fr))}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:16px}.swatch{height:84px;border-radius:8px;margin-bottom:12px;background:repeating-linear-gradient(90deg,var(--c) 0 8px,color-mix(in srgb,var(--c) 70%,#fff) 8px 12px)}
.name{font-weight:600}.was{text-decoration:line-through;color:var(--soft);margin-right:6px}.sale{color:var(--sale);font-weight:600}
button{font:inherit;border:0;border-radius:9px;padding:8px 14px;background:var(--accent);color:var(--bg);cursor:pointer;margin-top:12px}
button:focus-visible{outline:3px solid var(--ink);outline-offset:2px}.columns{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(260px,1fr))}
.note{border-left:4px solid var(--accent);padding:10px 14px;background:var(--card);border-radius:6px;margin-bottom:16px}.bad{color:var(--sale);overflow-wrap:anywhere}ul{margin:0;padding-left:18px}`;

function part(answer, show) {
  if (answer.error !== undefined)
    return `<p class="bad">Not available: ${escapeHtml(answer.error)}</p><p class="soft">${answer.tookMs} ms</p>`;
  return `${show(answer.value)}<p class="soft">answered in ${answer.tookMs} ms</p>`;
}

function good(item) {
  const price =
    item.wasCents === undefined
      ? money(item.priceCents)
      : `<span class="was">${money(item.wasCents)}</span><span class="sale">${money(item.priceCents)}</span>`;
  return `<article class="card"><div class="swatch" style="--c:${escapeHtml(item.colour)}"></div><div class="name">${escapeHtml(item.name)}</div>
<div>${price}</div><form method="post" action="/add?id=${encodeURIComponent(item.id)}"><button>Add to cart</button></form></article>`;
}

export function page({ catalog, reviews, cart, quote, note }) {
  const version = catalog.value?.version ?? '?';
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>The Weaver's Shop</title><link rel="icon" href="data:,"><style>${STYLE}</style></head><body><main>
<header><h1>The Weaver's Shop</h1><span class="tag ${escapeHtml(version)}">catalog ${escapeHtml(version)}${version === 'v2' ? ' · sale' : ''}</span></header>
${note === '' ? '' : `<p class="note" role="status">${escapeHtml(note)}</p>`}
${part(catalog, (value) => `<div class="goods">${value.items.map(good).join('')}</div>`)}
<div class="columns">
<section><h2>Cart</h2><div class="card">${part(cart, (value) => `<ul>${value.items.map((id) => `<li>${escapeHtml(id)}</li>`).join('') || '<li>empty</li>'}</ul>`)}
<form method="post" action="/buy"><button>Buy for €12.90</button></form></div></section>
<section><h2>Reviews</h2><div class="card">${part(reviews, (value) => `<ul>${value.reviews.map((one) => `<li>${'★'.repeat(one.stars)} ${escapeHtml(one.text)}</li>`).join('')}</ul>`)}</div></section>
<section><h2>Payments</h2><div class="card">${part(quote, (value) => `<p>Fee ${money(value.feeCents)} a payment, ${value.paid} paid so far.</p>`)}</div></section>
</div></main></body></html>`;
}
