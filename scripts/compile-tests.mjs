// Compiles the sources and the tests to .build without type checks, so that tests start fast.
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = dirname(import.meta.dirname)
const out = join(root, '.build')
rmSync(out, { recursive: true, force: true })
execFileSync(
  process.execPath,
  [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'tsconfig.test.json')],
  {
    cwd: root,
    stdio: 'inherit',
  },
)
// With its own package.json, `filtered-websocket` resolves to the sources compiled for the tests, not to dist.
const { name, type, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const here = JSON.parse(JSON.stringify(exports).replaceAll('./dist/', './'))
writeFileSync(join(out, 'package.json'), JSON.stringify({ name, type, exports: here }))
// The client libraries for browsers.
symlinkSync('../dist/browser', join(out, 'browser'))
