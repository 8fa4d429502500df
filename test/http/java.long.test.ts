import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { DROP, type FilterModule } from '../../src/index.ts'
import { folder, root } from '../support/cli.ts'
import { onPath } from '../support/debian.ts'
import { serve } from '../support/peer.ts'

const run = promisify(execFile)
const SCRIPT = join(root, 'test/peers/HttpClientPeer.java')
const java = onPath('javac', process.env) && onPath('java', process.env)

/** Answers with the size of the body. */
const counting: FilterModule = {
  request: async (req, res) => {
    if (req.url !== '/count') return
    res.end(`${(await buffer(req)).length} bytes`)
    return DROP
  },
}

/** What a client sends, and the end of the line that it prints. */
const REQUESTS = [
  ['GET /', '200 the page'],
  ['GET /none', '404 not found'],
  ['GET /up', '200 ok'],
  ['HEAD /', '200 '],
  ['OPTIONS /up', '200 ok'],
  ['POST /count 0', '200 0 bytes'],
  ['POST /count 5', '200 5 bytes'],
  ['PUT /count 3000000', '200 3000000 bytes'],
  // Not read by the server.
  ['POST / 3000000', '405 GET and HEAD only'],
] as const
const MESSAGES = [
  ['WS /', '"" hello 1000'],
  ['WS / chat', '"chat" hello 1000'],
  ['WS / chat fws.refused', '"chat" hello 1000'],
  ['WS / fws fws.refused', '"fws" hello 1000'],
] as const

describe("Java's HttpClient", { skip: java === undefined && 'needs a JDK' }, () => {
  // With HTTP_2, its default, it offers h2c with each request.
  for (const version of ['HTTP_1_1', 'HTTP_2'])
    it(`is served with the version ${version}`, async t => {
      const pagesRoot = folder(t, { 'index.html': 'the page' })
      const server = await serve(t, {
        filters: [counting, 'pages', 'broadcast', 'echo'],
        pagesRoot,
        healthPath: '/up',
      })
      const requests = [...REQUESTS, ...MESSAGES].map(([request]) => request)
      const { stdout } = await run(java!, [SCRIPT, version, server.url.replace('ws', 'http'), ...requests])
      assert.deepEqual(stdout.split('\n').slice(0, -1), [
        ...REQUESTS.map(([request, answer]) => `${request}: HTTP_1_1 ${answer}`),
        ...MESSAGES.map(([request, answer]) => `${request}: ${answer}`),
      ])
      assert.deepEqual({ ...server.counters.refusals }, {})
    })
})
