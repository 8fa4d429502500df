import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { Commands } from '../../../filters/exec/commands.ts'
import { carryOut } from '../../../filters/exec/verdict.ts'
import { DROP } from '../../../src/index.ts'
import { startTestServer } from '../../support/test-server.ts'

const KEYS = [
  'id',
  'do',
  'data',
  'binary',
  'drop',
  'pass',
  'error',
  'refuse',
  'identity',
  'client',
  'topic',
  'as',
  'ref',
  'code',
]

it('any JSON object of a program is a verdict, a command or an error, and nothing else happens', async t => {
  const server = await startTestServer(t, ['echo'])
  const { client, received } = await server.connect()
  const results: string[] = []
  const commands = new Commands({
    server: server.server,
    write: line => void results.push(line),
    unwritten: 0,
    pause() {},
    resume() {},
    failed: (name, problem) => void results.push(name + problem),
  })
  const value = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom('send', 'broadcast', 'join', 'leave', 'append', client.id, 'toString', '__proto__', 401, 1000),
  )
  const line = fc.dictionary(fc.oneof(fc.constantFrom(...KEYS), fc.string()), value)
  fc.assert(
    fc.property(line, fc.constantFrom('message', 'consumer'), (given, event) => {
      const parsed = JSON.parse(JSON.stringify(given))
      commands.run(parsed, 100)
      try {
        const verdict = carryOut(event as 'message', client, parsed)
        assert.ok(verdict === undefined || verdict === DROP || typeof verdict === 'string' || Buffer.isBuffer(verdict))
      } catch (error) {
        assert.ok(error instanceof Error && !(error instanceof assert.AssertionError), String(error))
      }
    }),
    { numRuns: 3000 },
  )
  server.flush()
  assert.ok(results.length > 0 && received.every(payload => typeof payload === 'string' || Buffer.isBuffer(payload)))
})
