import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { limitsOf } from '../../../filters/messaging/wire/limits.ts'
import { frameOf, type Messaging, type Response } from '../../../filters/messaging/wire/message.ts'
import { readFrame } from '../../../protocols/clever-show/frame.ts'
import { messageOf } from '../../../protocols/clever-show/message.ts'
import { readText, writeText } from '../../../protocols/clever-show/text.ts'
import { plainly, refusing } from '../../support/messaging.ts'

describe('JSON text', () => {
  const forms: readonly (readonly [text: string, message: Messaging])[] = [
    ['{"action":"a","args":[1],"kwargs":{"b":2}}', { type: 'message', name: 'a', args: [1], kwargs: { b: 2 } }],
    [
      '{"request":"id","id":"0001","args":[],"kwargs":{}}',
      { type: 'request', name: 'id', id: '0001', args: [], kwargs: {} },
    ],
    [
      '{"action":"a","id":"e.1","args":[],"kwargs":{},"resend":true,"at":1.25,"topic":"t"}',
      { type: 'message', name: 'a', id: 'e.1', args: [], kwargs: {}, resend: true, at: 1.25, topic: 't' },
    ],
    [
      '{"request":"a","id":7,"args":[],"kwargs":{},"resend":true}',
      { type: 'request', name: 'a', id: 7, args: [], kwargs: {}, resend: true },
    ],
    ['{"response":"id","id":"0001","value":[1]}', { type: 'response', name: 'id', id: '0001', value: [1] }],
    [
      '{"response":"id","id":"0001","error":{"code":"c","message":"m"}}',
      { type: 'response', name: 'id', id: '0001', value: null, error: { code: 'c', message: 'm' } },
    ],
  ]
  for (const [text, message] of forms) {
    it(`reads and writes ${text}`, () => {
      assert.deepEqual(plainly(readText(text, limitsOf())), message)
      assert.deepEqual(JSON.parse(writeText(message)!), JSON.parse(text))
      assert.deepEqual(plainly(messageOf(readFrame(frameOf(message), limitsOf(1024)), limitsOf())), message)
    })
  }

  it('accepts null for a missing id, at and topic, and refuses invalid ones', () => {
    const text = '{"action":"a","id":null,"resend":null,"at":null,"topic":null}'
    assert.deepEqual(plainly(readText(text, limitsOf())), { type: 'message', name: 'a', args: [], kwargs: {} })
    assert.throws(
      () => readText('{"action":"a","at":"now"}', limitsOf()),
      refusing('at is a number of seconds, received "now"'),
    )
    assert.throws(
      () => readText('{"action":"a","id":[]}', limitsOf()),
      refusing('an id is a number or a string of at most 1024 characters, received an array'),
    )
  })

  it('may omit args and kwargs, have any order of keys, spaces and NaN', () => {
    assert.deepEqual(
      plainly(readText(' {\n"args": [1] , "action": "a" }', limitsOf())),
      forms[0]![1].type === 'message' && { type: 'message', name: 'a', args: [1], kwargs: {} },
    )
    const said = readText('{"action": "a", "args": [NaN], "kwargs": null}', limitsOf())
    assert.deepEqual(said?.type === 'message' && said.args, [Number.NaN])
  })

  it('has at most 1,024 characters of an error', () => {
    const error = { code: 'c'.repeat(2000), message: 'm'.repeat(100_000) }
    const said = readText(JSON.stringify({ response: 'a', id: '1', error }), limitsOf()) as Response
    assert.deepEqual(said.error, { code: 'c'.repeat(1024), message: 'm'.repeat(1024) })
  })

  it('has null in place of a missing value', () => {
    assert.equal(
      writeText({ type: 'response', name: 'a', id: '1', value: undefined }),
      '{"response":"a","id":"1","value":null}',
    )
    assert.throws(() => writeText({ type: 'response', name: 'a', id: '1', value: () => {} }), {
      message: 'JSON cannot express function',
    })
  })

  for (const text of [
    'hello',
    '',
    '[]',
    '{}',
    '{"action"',
    '{"action":"a","room":"b"}',
    '{"args":[]}',
    '{"type":"action","action":"a"}',
    '{"actions":"a"}',
  ]) {
    it(`does not read other strings: ${JSON.stringify(text)}`, () => {
      assert.equal(readText(text, limitsOf()), undefined)
    })
  }

  const wrong: readonly (readonly [text: string, why: string])[] = [
    ['{"action":1}', 'action is a string of 1 to 1024 characters, received 1'],
    ['{"action":"a","args":{}}', 'args is an array, received an object'],
    ['{"action":"a","kwargs":[]}', 'kwargs is an object, received an array'],
    ['{"request":"a"}', 'an id is a number or a string of at most 1024 characters, received undefined'],
    ['{"response":"a","id":null,"value":1}', 'an id is a number or a string of at most 1024 characters, received null'],
  ]
  for (const [text, why] of wrong) {
    it(`refuses ${text}`, () => {
      assert.throws(() => readText(text, limitsOf()), refusing(why))
    })
  }

  it('expresses the same messages as frames', () => {
    const name = fc.string({ minLength: 1 })
    const some = {
      args: fc.array(fc.jsonValue(), { maxLength: 4 }),
      kwargs: fc.dictionary(fc.string(), fc.jsonValue()),
    }
    const id = fc.oneof(fc.string(), fc.nat())
    const message = fc.oneof(
      fc.record({ type: fc.constant('message'), name: name.filter(text => text !== 'filetransfer'), ...some }),
      fc.record({ type: fc.constant('request'), name, id, ...some }),
      fc.record({ type: fc.constant('response'), name, id, value: fc.jsonValue() }),
    ) as fc.Arbitrary<Messaging>
    fc.assert(
      fc.property(message, said => {
        const frame = frameOf(said)
        const read = messageOf(readFrame(frame, limitsOf(frame.length)), limitsOf())!
        const again = readText(writeText(read)!, limitsOf())!
        assert.deepEqual(plainly(again), plainly(said))
        assert.deepEqual(frameOf(again), frame)
      }),
    )
  })
})
