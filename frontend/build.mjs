// Bundles src/ into the folder given as the first argument and writes manifest.json there.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const out = process.argv[2] ?? 'dist';
await mkdir(out, { recursive: true });

const result = await build({
  entryPoints: ['src/app.js', 'src/agents.js', 'src/app.css', 'src/agents.css', 'src/automation.css', 'src/outbox.css', 'src/skills.css', 'src/insights.css', 'src/simulator.css', 'src/charts.js', 'src/drag.js', 'src/files.js', 'src/simulator.js'],
  outdir: out,
  bundle: true,
  minify: true,
  format: 'iife',
  target: ['chrome123', 'firefox128', 'safari17.5'],
  entryNames: '[name]-[hash]',
  assetNames: '[name]-[hash]',
  loader: { '.woff2': 'file' },
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});

const files = {};
for (const [path, info] of Object.entries(result.metafile.outputs)) {
  if (info.entryPoint) files[basename(info.entryPoint)] = basename(path);
  else files[basename(path).replace(/-[A-Z0-9]{8}(?=\.)/, '')] = basename(path);
}

// One sprite with only the icons that src/icons.json names.
const wanted = JSON.parse(await readFile('src/icons.json', 'utf8'));
const set = JSON.parse(await readFile('node_modules/@iconify-json/lucide/icons.json', 'utf8'));
const symbols = wanted.map((name) => {
  const icon = set.icons[name] ?? set.icons[set.aliases[name]?.parent];
  if (!icon) throw new Error(`no such icon: ${name}`);
  return `<symbol id="${name}" viewBox="0 0 24 24">${icon.body}</symbol>`;
});
// Our own mark stands among them.
const mark = await readFile('src/mark.svg', 'utf8');
symbols.push(`<symbol id="mark" viewBox="0 0 24 24">${mark.replace(/^<svg[^>]*>|<\/svg>\s*$/g, '')}</symbol>`);
const sprite = `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join('')}</svg>`;
const spriteName = `icons-${createHash('sha256').update(sprite).digest('hex').slice(0, 8)}.svg`;
await writeFile(join(out, spriteName), sprite);
files['icons.svg'] = spriteName;

const icon = await readFile('src/favicon.svg');
const iconName = `favicon-${createHash('sha256').update(icon).digest('hex').slice(0, 8)}.svg`;
await writeFile(join(out, iconName), icon);
files['favicon.svg'] = iconName;

// Licences of what was bundled.
const used = new Set(['@iconify-json/lucide']);
for (const input of Object.keys(result.metafile.inputs)) {
  const m = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (m) used.add(m[1]);
}
let notices = '';
for (const name of [...used].sort()) {
  const dir = `node_modules/${name}`;
  const meta = JSON.parse(await readFile(`${dir}/package.json`, 'utf8'));
  const licence = (await readdir(dir)).find((f) => /^licen[cs]e/i.test(f));
  notices += `${name} ${meta.version} (${meta.license})\n\n${licence ? await readFile(`${dir}/${licence}`, 'utf8') : ''}\n${'-'.repeat(72)}\n`;
}
await writeFile(join(out, 'THIRD_PARTY_NOTICES.txt'), notices);
files['THIRD_PARTY_NOTICES.txt'] = 'THIRD_PARTY_NOTICES.txt';

// Smaller twins of what is text, made once here instead of at each request.
for (const name of Object.values(files).filter((file) => /\.(js|css|svg)$/.test(file))) {
  const whole = await readFile(join(out, name));
  await writeFile(join(out, `${name}.br`), brotliCompressSync(whole, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: whole.length } }));
  await writeFile(join(out, `${name}.gz`), gzipSync(whole, { level: 9 }));
}

await writeFile(join(out, 'manifest.json'), JSON.stringify({ files }, null, 1));
