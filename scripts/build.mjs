// Compiles bin, src, filters, storage and client to dist, with types; for browsers each client library becomes one file.
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
await build({
  entryPoints: ['client/client.ts', 'client/media.ts', 'client/messaging.ts', 'client/media/microphone-worklet.ts'].map(
    file => join(root, file),
  ),
  outdir: join(root, 'dist/browser'),
  entryNames: '[name]',
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  logLevel: 'warning',
})
chmodSync(join(root, 'dist/bin/fws-server.js'), 0o755)
