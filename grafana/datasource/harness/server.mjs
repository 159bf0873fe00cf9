/** Serves the page, the built plugin and Grafana's icons, and passes requests on to the hub as Grafana's proxy does. */

import { build } from 'esbuild';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const PLUGIN = fileURLToPath(new URL('..', import.meta.url));
const PROXY = '/api/datasources/proxy/uid/skytrail/';
const FOLDERS = {
  '/public/plugins/skytrail-topology-datasource/': join(PLUGIN, 'dist'),
  '/public/build/img/icons/': join(PLUGIN, 'node_modules/@grafana/ui/dist/public/img/icons'),
};
const TYPES = { '.js': 'text/javascript', '.svg': 'image/svg+xml', '.css': 'text/css', '.ttf': 'font/ttf' };
const PAGE =
  '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/page.css"><div id="page"></div><script src="/page.js"></script>';

/** The page's script and style, by path. */
async function bundled() {
  const { outputFiles } = await build({
    entryPoints: [join(PLUGIN, 'harness/page.tsx')],
    bundle: true,
    write: false,
    outfile: '/page.js',
    format: 'iife',
    define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
    loader: { '.svg': 'dataurl', '.ttf': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.png': 'dataurl' },
    alias: { 'react-custom-scrollbars-2': join(PLUGIN, 'harness/scrollbars.ts') },
    logLevel: 'error',
  });
  return Object.fromEntries(outputFiles.map((file) => [file.path, file.contents]));
}

/** A server on a free port. @param secrets what Grafana would keep: { token }. */
export async function serve(hub, secrets = {}) {
  const { routes } = JSON.parse(await readFile(join(PLUGIN, 'dist/plugin.json'), 'utf8'));
  const files = await bundled();
  const server = http.createServer(async (request, response) => {
    const path = request.url.split('?')[0];
    if (path.startsWith(PROXY)) {
      pass(request, response, hub, request.url.slice(PROXY.length), routes, secrets);
    } else if (path === '/') {
      response.writeHead(200, { 'Content-Type': 'text/html' }).end(PAGE);
    } else if (path in files) {
      response.writeHead(200, { 'Content-Type': TYPES[extname(path)] }).end(files[path]);
    } else {
      await file(path, response);
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

async function file(path, response) {
  const [prefix, folder] = Object.entries(FOLDERS).find(([one]) => path.startsWith(one)) ?? [];
  try {
    const content = await readFile(join(folder, normalize(`/${path.slice(prefix.length)}`)));
    response.writeHead(200, { 'Content-Type': TYPES[extname(path)] ?? 'application/octet-stream' }).end(content);
  } catch {
    response.writeHead(404).end();
  }
}

/** As pkg/api/pluginproxy: the first route that fits adds its headers; Origin and Referer go; a 401 becomes a 400. */
function pass(request, response, hub, rest, routes, secrets) {
  const route = routes.find(({ path, method }) => rest.startsWith(path) && method === request.method);
  const headers = { ...request.headers, host: new URL(hub).host };
  delete headers.origin;
  delete headers.referer;
  for (const { name, content } of route?.headers ?? []) {
    headers[name.toLowerCase()] = content.replace(/\{\{ \.SecureJsonData\.(\w+) \}\}/g, (_, key) => secrets[key] ?? '');
  }
  const asked = http.request(new URL(rest, `${hub}/`), { method: request.method, headers }, (answer) => {
    if (answer.statusCode === 401) {
      answer.resume();
      response.writeHead(400).end('Authentication to data source failed');
      return;
    }
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  asked.on('error', (error) => response.headersSent || response.writeHead(502).end(error.message));
  response.on('close', () => asked.destroy());
  request.pipe(asked);
}
