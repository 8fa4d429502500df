// Compiles bin, src, protocols, filters, storage and client to dist, with types; for browsers each client library becomes one file.
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = dirname(import.meta.dirname)
const tsc = join(root, 'node_modules/typescript/bin/tsc')
if (!existsSync(tsc)) {
  console.error('building needs the dev dependencies: npm install, without --omit=dev')
  process.exit(1)
}
rmSync(join(root, 'dist'), { recursive: true, force: true })
execFileSync(process.execPath, [tsc, '-p', root], { cwd: root, stdio: 'inherit' })
const { build } = await import('esbuild')
const browser = {
  absWorkingDir: root,
  outdir: 'dist/browser',
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
  plugins: [beside(/^\.\/files\.ts$/, './messaging-files.js'), beside(/^\.\/timing\.ts$/, './messaging-timing.js')],
})
// Loaded when it is needed; its errors are of the class that whoever has loaded it knows.
await build({
  ...browser,
  entryPoints: { 'messaging-files': 'client/messaging/files.ts', 'messaging-timing': 'client/messaging/timing.ts' },
  plugins: [beside(/^\.\/error\.ts$/, './messaging.js')],
})
chmodSync(join(root, 'dist/bin/fws-server.js'), 0o755)

/** Leaves a module to a file that browsers find beside the one that imports it. */
function beside(filter, path) {
  return { name: `beside ${path}`, setup: ({ onResolve }) => onResolve({ filter }, () => ({ path, external: true })) }
}
