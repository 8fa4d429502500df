// Compiles bin, src, protocols, filters, storage and client to dist, with types; for browsers each client library becomes one file.
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = dirname(import.meta.dirname)
const tsc = join(root, 'node_modules/typescript/bin/tsc')
if (!existsSync(tsc)) {
  console.error('building needs the dev dependencies: npm install, without --omit=dev')
  process.exit(1)
}
/** Renamed when it is complete: `npx` builds in a clone, and may be interrupted. */
const unfinished = join(root, 'node_modules/.fws-dist')
rmSync(unfinished, { recursive: true, force: true })
execFileSync(process.execPath, [tsc, '-p', root, '--outDir', unfinished], { cwd: root, stdio: 'inherit' })
const { build } = await import('esbuild')
const browser = {
  absWorkingDir: root,
  outdir: join(unfinished, 'browser'),
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  logLevel: 'warning',
}
await build({
  ...browser,
  entryPoints: {
    client: 'client/client.ts',
    media: 'client/media.ts',
    messaging: 'client/messaging.ts',
    'microphone-worklet': 'client/media/microphone-worklet.ts',
  },
  plugins: [
    external(/^\.\/files\.ts$/, './messaging-files.js'),
    external(/^\.\/handlers\.ts$/, './messaging-handlers.js'),
  ],
})
// Loaded on demand. The class of errors is that of messaging.js.
await build({
  ...browser,
  entryPoints: { 'messaging-files': 'client/messaging/files.ts', 'messaging-handlers': 'client/messaging/handlers.ts' },
  plugins: [external(/^\.\/error\.ts$/, './messaging.js')],
})
chmodSync(join(unfinished, 'bin/fws-server.js'), 0o755)
rmSync(join(root, 'dist'), { recursive: true, force: true })
renameSync(unfinished, join(root, 'dist'))

/** Replaces imports of a module by an import of another file in dist/browser. */
function external(filter, path) {
  return { name: `external ${path}`, setup: ({ onResolve }) => onResolve({ filter }, () => ({ path, external: true })) }
}
