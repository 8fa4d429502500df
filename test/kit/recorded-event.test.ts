import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readRecorded } from '../../src/kit/recorded-event.ts'

describe('readRecorded', () => {
  for (const [line, expected] of [
    ['{"client":"a","data":"x"}', { event: 'message', client: 'a', payload: 'x' }],
    ['{"client":"a","binary":"AAE=","at":5}', { event: 'message', client: 'a', payload: Buffer.from([0, 1]), at: 5 }],
    ['{"event":"open","client":"a","url":"/x?y=1"}', { event: 'open', client: 'a', url: '/x?y=1' }],
    ['{"event":"connect","client":"","protocols":["p"]}', { event: 'connect', client: '', protocols: ['p'] }],
    ['{"event":"disconnect","client":"a","code":1006}', { event: 'disconnect', client: 'a', code: 1006 }],
    ['{"event":"consumer","channel":"c","data":""}', { event: 'consumer', channel: 'c', payload: '' }],
    ['{"event":"open","client":"a","url":"//b"}', { event: 'open', client: 'a', url: '//b' }],
    ['{"event":"request"}', { event: 'request' }],
    ['{"event":"request","url":"http://x/"}', { event: 'request' }],
    ['{"event":"request","method":"OPTIONS","url":"*"}', { event: 'request' }],
    ['{"client":"a","data":"x","more":1}', { event: 'message', client: 'a', payload: 'x', more: 1 }],
  ] as const)
    it(`reads ${line}`, () => {
      const read = readRecorded(line) as unknown as Record<string, unknown>
      for (const [name, value] of Object.entries(expected)) assert.deepEqual(read[name], value)
    })

  it('accepts the first line of a recording', () => assert.equal(readRecorded('{"recording":1,"at":5}'), undefined))

  for (const version of ['2', '"1"', 'null'])
    it(`refuses version ${version}`, () => {
      assert.throws(() => readRecorded(`{"recording":${version}}`), {
        code: 'ERR_COMMAND',
        message: `the recording has version ${version}, and this fws-server reads version 1`,
      })
    })

  for (const [line, message] of [
    ['', 'a line is a JSON object, received '],
    ['[]', 'a line is a JSON object, received []'],
    ['null', 'a line is a JSON object, received null'],
    [`{"client":"${'a'.repeat(50)}`, `a line is a JSON object, received {"client":"${'a'.repeat(29)}...`],
    ['{}', 'event message needs "client"'],
    ['{"client":"a"}', 'event message needs "data" or "binary"'],
    ['{"client":"a","payload":"x"}', 'event message needs "data" or "binary"'],
    ['{"client":1,"data":"x"}', '"client" must be a string, received 1'],
    ['{"client":"a","data":"x","at":"now"}', '"at" must be a number, received "now"'],
    ['{"client":"a","data":1}', '"data" must be a string, received number'],
    ['{"client":"a","data":"","binary":""}', '"data" and "binary" exclude each other'],
    ['{"event":"open","client":"a","url":"b"}', '"url" must be a path that begins with /, received "b"'],
    ['{"event":"open","client":"a","headers":{"a":1}}', '"headers" must be an object of strings, received {"a":1}'],
    ['{"event":"open","client":"a","identity":""}', '"identity" must be a string that is not empty, received ""'],
    ['{"event":"consumer","data":"x"}', 'event consumer needs "channel"'],
    [
      '{"event":"toString"}',
      '"event" is one of connect, open, message, disconnect, consumer, publish, request, received "toString"',
    ],
  ] as const)
    it(`refuses ${line.slice(0, 50)}`, () => {
      assert.throws(() => readRecorded(line), { name: 'SyntaxError', message })
    })

  it('has no meaning for names of Object.prototype', () => {
    assert.equal(readRecorded('{"client":"a","data":"x","constructor":1,"__proto__":2}')?.client, 'a')
  })
})
