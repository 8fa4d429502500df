import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { Raw } from '../support/centrifuge.ts'
import { folder, launch, root } from '../support/cli.ts'
import { onPath } from '../support/debian.ts'
import { until } from '../support/peer.ts'
import { API_KEY } from '../support/server-api.ts'

const page = readFileSync(join(root, 'docs/guide/backend.md'), 'utf8')
const URL_SHOWN = 'http://127.0.0.1:9000'
const env = { FWS_CENTRIFUGE_API_KEY: API_KEY }

/** The first block of a language that has a text. */
function block(language: string, text: string): string {
  const blocks = [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
  return blocks.find(([, kind, content]) => kind === language && content!.includes(text))![2]!
}

/** Runs the command that the page shows, with a subscribed client. */
async function serve(t: TestContext) {
  const [, command] = block('sh', 'fws-server').split('\n')
  const argv = Array.from(command!.matchAll(/"([^"]*)"|\S+/g), ([word, quoted]) => quoted ?? word).slice(2)
  const { url } = await launch(t, [...argv, '-p', '0', '--drain', '1'], { env })
  const raw = await Raw.connected(url.replace(/\/$/, ''))
  raw.send({ id: 2, subscribe: { channel: 'chat:1' } })
  await raw.reply(2)
  const http = url.replace(/^ws/, 'http').replace(/\/$/, '')
  return { raw, shown: (code: string) => code.replaceAll(URL_SHOWN, http) }
}

const LANGUAGES = [
  ['curl', 'sh', 'api/publish', 'sh', ['-c']],
  ['Python', 'python', 'urllib', 'python3', ['-c']],
  ['PHP', 'php', 'getenv', 'php', []],
  ['Ruby', 'ruby', 'Net::HTTP', 'ruby', ['-e']],
  ['Node', 'js', 'fetch', 'node', ['--input-type=module', '-e']],
] as const

describe('docs/guide/backend.md', () => {
  for (const [name, language, text, program, args] of LANGUAGES) {
    const isHere =
      onPath(program, process.env) !== undefined && (name !== 'curl' || onPath('curl', process.env) !== undefined)
    it(`publishes with ${name}`, {
      skip: isHere ? false : `needs ${name === 'curl' ? name : program}`,
    }, async t => {
      const { raw, shown } = await serve(t)
      const code = shown(block(language, text))
      const file = join(folder(t, { 'publish.php': code }), 'publish.php')
      const { stdout } = await promisify(execFile)(program, [...args, name === 'PHP' ? file : code], {
        env: { ...process.env, ...env },
      })
      if (name === 'curl') assert.match(stdout, /^\{"result":\{"offset":1,"epoch":"[\w-]+"\}\}$/)
      else assert.equal(stdout, 'offset 1\n')
      // Pings may come between.
      const pushes = () => raw.messages.filter(message => 'push' in message)
      await until(() => pushes().length > 0, 'a push')
      const pub = { data: { text: `hello from ${name}` }, offset: 1 }
      assert.deepEqual(pushes(), [{ push: { channel: 'chat:1', pub } }])
    })
  }
})
