import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import * as ansi from 'ansi-escapes'
import { run } from '../../../filters/health/top.ts'
import { folder, launch, root } from '../../support/cli.ts'
import { until } from '../../support/peer.ts'
import { skipWithoutOwn, startRedis } from '../../support/redis.ts'
import { terminalPicture } from '../../support/terminal-picture.ts'
import { upgrade } from '../../support/upgrade.ts'

describe('the picture of fws-server top in the docs', { skip: skipWithoutOwn }, () => {
  // It is written only if UPDATE_SCREENSHOTS is set.
  it('is the view of a server with Redis, trouble and a client that does not read', async t => {
    const redis = await startRedis()
    t.after(() => redis.stop())
    const cwd = folder(t, {
      'uppercase.js': 'export const message = async payload => payload.toUpperCase()\n',
    })
    const argv = ['-p', '0', '-f', 'rate-limit', 'health', 'json', './uppercase.js', 'broadcast']
    const limits = [
      '--rate-limit-connects',
      '1000',
      '--rate-limit-messages',
      '1000000',
      '--rate-limit-bytes',
      '1000000000',
    ]
    const server = await launch(
      t,
      [
        ...argv,
        ...limits,
        '--health-port',
        '0',
        '--storage',
        'redis',
        '--redis-url',
        redis.url,
        '--max-buffered',
        '100000000',
      ],
      { cwd },
    )
    const health = String(server.logged().find(({ msg }) => msg === 'health answers')!.url)
    const slow = await server.connect()
    slow.ws.pause()
    const peers = [await server.connect()]
    // More than the system takes for a peer that does not read.
    for (let i = 0; i < 20; i++) peers[0]!.send(JSON.stringify('x'.repeat(1_000_000)))
    while (peers.length < 50) peers.push(await server.connect())
    const timer = setInterval(() => {
      for (const peer of peers) {
        peer.received.length = 0
        peer.send('{"text":"hello"}')
      }
      peers[1]!.send('no JSON')
      upgrade(server.url, { headers: { origin: 'http://evil.example' } }).catch(() => {})
    }, 50)
    t.after(() => clearInterval(timer))

    const ending = new AbortController()
    const stdout = Object.assign(new PassThrough(), { isTTY: true, rows: 40 })
    const frames: string[] = []
    stdout.setEncoding('utf8').on('data', frame => frames.push(frame))
    const options = {
      interval: 1,
      once: false,
      'health-port': 0,
      'health-host': '',
      'health-payloads': false,
      'health-redact': [],
    }
    const ended = run({ options, words: [health], env: {}, streams: { stdout, stderr: stdout, signal: ending.signal } })
    await until(() => frames.filter(frame => frame.includes('received')).length >= 4)
    ending.abort()
    await ended
    const frame = frames.findLast(frame => frame.includes('received'))!
    const [start, end] = [ansi.cursorTo(0, 0), ansi.eraseDown]
    const styled = frame
      .slice(frame.indexOf(start) + start.length, frame.indexOf(end))
      .replaceAll(ansi.eraseEndLine, '')
      .split('\n')
    const lines = styled.map(stripVTControlCharacters)
    for (const line of [
      /^fws-server http:.* ready /,
      /^clients +51 /,
      /^dropped .*not JSON/,
      /^refused +403 /,
      /MiB unsent /,
      /uppercase\.js/,
    ])
      assert.ok(
        lines.some(text => line.test(text)),
        `${line} in\n${lines.join('\n')}`,
      )
    const svg = terminalPicture(styled, 'fws-server top')
    if (process.env.UPDATE_SCREENSHOTS) writeFileSync(join(root, 'docs/images/top.svg'), svg)
  })
})
