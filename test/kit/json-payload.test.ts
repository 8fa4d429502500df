import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { payloadField, payloadIn } from '../../src/kit/json-payload.ts'

describe('payloads in JSON', () => {
  for (const payload of ['', 'hello', '{"a":1}', '\0é€', Buffer.alloc(0), Buffer.from([0, 255, 128])])
    it(`read ${JSON.stringify(payloadField(payload))} as it was written`, () => {
      assert.deepEqual(payloadIn(JSON.parse(JSON.stringify(payloadField(payload)))), payload)
    })

  it('may be absent', () => assert.equal(payloadIn({}), undefined))

  for (const [fields, message] of [
    [{ data: 1 }, '"data" must be a string, received number'],
    [{ data: null }, '"data" must be a string, received object'],
    [{ binary: 'a' }, '"binary" must be base64 (RFC 4648)'],
    [{ binary: 'a-__' }, '"binary" must be base64 (RFC 4648)'],
    [{ binary: 'YQ==\n' }, '"binary" must be base64 (RFC 4648)'],
    [{ data: '', binary: '' }, '"data" and "binary" exclude each other'],
  ] as const)
    it(`are refused: ${JSON.stringify(fields)}`, () => {
      assert.throws(() => payloadIn(fields), { name: 'SyntaxError', message })
    })
})
