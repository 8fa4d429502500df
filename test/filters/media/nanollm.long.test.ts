import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { browser } from '../../support/browser.ts'
import { folder, launch } from '../../support/cli.ts'
import { vector } from '../../support/media.ts'
import { until } from '../../support/peer.ts'

/** Path of a clone of NanoLLM; its browser files, which run unchanged, are not part of this repository. */
const { NANOLLM } = process.env

const AGENT = `export const uses = ['media']
export const setup = host => {
  const media = host.use('media')
  media.on('connect', client => media.send(client, 'json', { system_prompt: 'hü' }))
  media.on('text', ({ payload }, client) => media.answer(client, 'json', { chat_history: [payload] }))
  media.on('json', ({ payload }, client) => media.answer(client, 'text', JSON.stringify(payload)))
  for (const kind of ['binary', 'audio', 'file', 'image'])
    media.on(kind, ({ payload, metadata }, client) => media.answer(client, kind, payload, { metadata }))
}`
const PAGE = `const got = []
const start = port => connectWebsocket((payload, type) => {
  got.push([type, payload instanceof ArrayBuffer ? [...new Uint8Array(payload)] : payload])
}, port)
const drop = bytes => {
  const dropped = new DataTransfer()
  dropped.items.add(new File([Uint8Array.from(bytes)], 'X.PNG'))
  websocketUpload(dropped)
}`

const skip = NANOLLM === undefined && 'NANOLLM has no path of a clone of NanoLLM'

describe('the browser client of NanoLLM', { skip }, () => {
  it('sends and gets every kind, and sound of its microphone', async t => {
    const script = (name: string) => readFileSync(join(NANOLLM!, 'nano_llm/web/static', `${name}.js`), 'utf8')
    const cwd = folder(t, {
      'agent.js': AGENT,
      'site/index.html':
        '<script src="/static/websocket.js"></script><script src="/static/audio.js"></script><script src="/page.js"></script>',
      'site/page.js': PAGE,
      'site/static/websocket.js': script('websocket'),
      'site/static/audio.js': script('audio'),
      'site/static/audioWorkers.js': script('audioWorkers'),
    })
    const chromium = await browser(t)
    const server = await launch(t, ['-p', '0', '-f', './agent.js', 'pages', '--pages-root', 'site'], { cwd })
    const page = await chromium.newPage()
    await page.goto(server.url.replace('ws:', 'http:'))
    const got = () => page.evaluate<(readonly [number, unknown])[]>('got')
    const png = [...vector('c2s/image png').subarray(32)]
    await page.evaluate(`start(${new URL(server.url).port})`)
    await until(async () => (await got()).length === 1)
    for (const call of [
      `sendWebsocket('he said "hé"', MESSAGE_TEXT)`,
      'sendWebsocket({ chat_history_reset: true })',
      'sendWebsocket(Uint8Array.of(0, 1, 2), MESSAGE_BINARY)',
      'sendWebsocket(Int16Array.of(0, 1, -1, 32767), MESSAGE_AUDIO)',
      `sendWebsocket(new Blob(['hi']), MESSAGE_FILE, 'txt')`,
      `drop(${JSON.stringify(png)})`,
    ])
      await page.evaluate(call)
    await until(async () => (await got()).length === 7)
    // It decodes asynchronously, so messages may overtake each other.
    assert.deepEqual(
      (await got()).toSorted(([a], [b]) => a - b),
      [
        [0, { system_prompt: 'hü' }],
        [0, { chat_history: ['he said "hé"'] }],
        [1, '{"chat_history_reset":true}'],
        [2, [0, 1, 2]],
        [3, [104, 105]],
        [4, [0, 0, 1, 0, 255, 255, 255, 127]],
        [5, png],
      ],
    )
    await page.evaluate(`openAudioDevices('default', '')`)
    await until(() => page.evaluate<boolean>(`audioInputCapture !== undefined`))
    await page.evaluate('audioInputTrack.enabled = true')
    await until(async () => (await got()).filter(([type]) => type === 4).length > 20)
  })
})
