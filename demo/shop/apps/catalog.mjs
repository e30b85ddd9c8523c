// The catalog, in two versions: v2 has a sale on.
import { sendJson, serve } from './service.mjs';

const version = process.env.VERSION ?? 'v1';
const goods = [
  { id: 'loom', name: 'Table loom', priceCents: 18_900, colour: '#c2703d' },
  { id: 'shuttle', name: 'Boat shuttle', priceCents: 2_450, colour: '#3d7ac2' },
  { id: 'yarn', name: 'Merino yarn, 100 g', priceCents: 1_290, colour: '#6a9a48' },
  { id: 'heddles', name: 'Texsolv heddles, 100', priceCents: 1_680, colour: '#8a5bb5' },
];
const items =
  version === 'v2'
    ? goods.map((item) => ({
        ...item,
        wasCents: item.priceCents,
        priceCents: Math.round(item.priceCents * 0.8),
      }))
    : goods;

serve(`catalog ${version}`, {
  'GET /items': (_request, response) => sendJson(response, 200, { version, items }),
});
