import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { resultOf } from '../../../filters/wslink/envelope.ts'
import { ProtocolError } from '../../../filters/wslink/protocol-error.ts'
import { readJson, writeJson } from '../../../filters/wslink/v1/json.ts'
import { ProtocolV1 } from '../../../filters/wslink/v1/protocol.ts'

const fails = (run: () => unknown, code: number, message: string) =>
  assert.throws(
    run,
    (error: ProtocolError) => error instanceof ProtocolError && error.code === code && error.message === message,
  )
const written = (value: unknown) => writeJson(value).texts.join('?')

describe('JSON of 1.x', () => {
  it('is read with the numbers of Python', () => {
    assert.deepEqual(readJson('{"a": [NaN, -Infinity, Infinity], "NaN": "Infinity \\" NaN", "b": "NaN"}'), {
      a: [Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
      NaN: 'Infinity " NaN',
      b: 'NaN',
    })
  })
  it('is read in linear time', () => {
    const long = `["${'\\"NaN'.repeat(500_000)}", NaN]`
    const [text, nan] = readJson(long, 10_000_000) as [string, number]
    assert.deepEqual([text.length, nan], [2_000_000, Number.NaN])
    // The placeholder for NaN is not searched for in strings of the client.
    const names = Array.from({ length: 2700 }, (_, i) => `"NaN${'_'.repeat(i)}"`)
    const began = process.cpuUsage()
    assert.equal((readJson(`[${names}, NaN]`, 10_000_000) as unknown[]).length, 2701)
    assert.ok(process.cpuUsage(began).user < 1_000_000)
  })
  it('is read with strings unchanged', () => {
    assert.deepEqual(readJson('["\\u004eaN", "\\u004eaN_", NaN]'), ['NaN', 'NaN_', Number.NaN])
  })
  it('is refused if invalid', () => {
    for (const text of ['', '{', 'NaN5', '5NaN', '5Infinity', '-NaN', '"NaN', 'nan', '[NaN,]', "{'a': NaN}"])
      fails(() => readJson(text), 1007, 'a text message is not JSON')
  })
  it('is written as Python writes it', () => {
    const value = { a: [1, -0, 1.5, 1e21, Number.NaN, Number.NEGATIVE_INFINITY], b: {}, c: [], é: 'ü"', d: undefined }
    assert.equal(
      written(value),
      '{"a": [1, -0.0, 1.5, 1e+21, NaN, -Infinity], "b": {}, "c": [], "é": "ü\\"", "d": null}',
    )
    assert.equal(
      written([new Date(0), 2n ** 60n, true, null]),
      '["1970-01-01T00:00:00.000Z", 1152921504606846976, true, null]',
    )
  })
  it('cannot encode functions, symbols and deep values', () => {
    assert.throws(() => written(() => {}), new TypeError('JSON cannot encode a function'))
    assert.throws(() => written([Symbol('x')]), new TypeError('JSON cannot encode a symbol'))
    const circle: unknown[] = []
    circle.push(circle)
    assert.throws(() => written(circle), new RangeError('nested deeper than 100'))
  })
})

describe('attachments to clients of 1.x', () => {
  it('have keys that differ from all strings of the message', () => {
    const generation = new ProtocolV1()
    const sent = generation.write(resultOf('rpc:c:0', ['wslink_bin0', Buffer.from('x'), 'wslink_bin1']))
    assert.deepEqual(sent, [
      '{"wslink": "1.0", "method": "wslink.binary.attachment", "args": ["wslink_bin2"]}',
      [Buffer.from('x')],
      '{"wslink": "1.0", "id": "rpc:c:0", "result": ["wslink_bin0", "wslink_bin2", "wslink_bin1"]}',
    ])
  })
})

describe('attachments of clients of 1.x', () => {
  function reader(limit = 1000) {
    const made = new ProtocolV1().reader(limit)
    made.admit(limit)
    let now = 0
    return {
      made,
      announce: (...keys: unknown[]) =>
        made.read(JSON.stringify({ wslink: '1.0', method: 'wslink.binary.attachment', args: keys }), ++now),
      bytes: (text: string) => made.read(Buffer.from(text), ++now),
      args: (...args: unknown[]) =>
        made.read(JSON.stringify({ id: 'rpc:c:0', method: 'm', args: [args], kwargs: { k: args[0] } }), ++now) as {
          args: [unknown[]]
          kwargs: { k: unknown }
        },
    }
  }

  it('replace exactly their keys, once', () => {
    const { announce, bytes, args, made } = reader()
    announce('wslink_bin1', 'wslink_bin10')
    bytes('one')
    bytes('ten')
    const deep = { deep: ['wslink_bin10'] }
    const {
      args: [got],
      kwargs,
    } = args('wslink_bin1', 'xwslink_bin1', 'wslink_bin1 ', 'wslink_bin11', deep, 5, null)
    assert.deepEqual(got, [
      Buffer.from('one'),
      'xwslink_bin1',
      'wslink_bin1 ',
      'wslink_bin11',
      { deep: [Buffer.from('ten')] },
      5,
      null,
    ])
    assert.deepEqual(kwargs.k, Buffer.from('one'))
    assert.equal(made.since, undefined)
    assert.deepEqual(args('wslink_bin1').args[0], ['wslink_bin1'])
  })
  it('belong to one client', () => {
    const generation = new ProtocolV1()
    const [ann, eve] = [generation.reader(1000), generation.reader(1000)]
    for (const one of [ann, eve]) one.admit(1000)
    ann!.read('{"method": "wslink.binary.attachment", "args": ["wslink_bin1"]}', 0)
    fails(() => eve!.read(Buffer.from('x'), 0), 1002, 'bytes without an announced attachment')
  })
  it('have valid keys, in bounded number', () => {
    const why = 'the keys of attachments must have the form wslink_bin1'
    for (const key of [5, 'x', 'wslink_bin', 'wslink_bin1\n', `wslink_bin${'1'.repeat(21)}`, null])
      fails(() => reader().announce(key), 1002, why)
    fails(() => reader().made.read('{"method": "wslink.binary.attachment", "args": {}}', 0), 1002, why)
    const keys = Array.from({ length: 16_384 }, (_, i) => `wslink_bin${i}`)
    const { announce, bytes } = reader(1_000_000)
    announce(...keys)
    for (const key of keys) bytes(key)
    fails(() => announce('wslink_bin16384'), 1009, 'more than 16384 pending attachments')
    fails(() => reader(1_000_000).announce(...keys, 'wslink_bin16384'), 1009, 'more than 16384 pending attachments')
  })
  it('do not get the bytes of the next one if theirs are lost', () => {
    const { announce } = reader()
    announce('wslink_bin1')
    fails(() => announce('wslink_bin2'), 1002, 'the bytes of wslink_bin1 are missing')
  })
  it('are limited to the bytes of a message', () => {
    const { announce, bytes, args } = reader()
    announce('wslink_bin1', 'wslink_bin1', 'wslink_bin2', 'wslink_bin3')
    bytes('x'.repeat(600))
    bytes('y'.repeat(600))
    bytes('z'.repeat(400))
    assert.deepEqual(args('wslink_bin1').args[0], [Buffer.from('y'.repeat(600))])
    fails(() => bytes('z'.repeat(601)), 1009, 'more than 1000 bytes of pending attachments')
  })
  it('are idle since their last event', () => {
    const { made, announce, bytes, args } = reader()
    announce('wslink_bin1')
    assert.equal(made.since, 1)
    bytes('x')
    assert.equal(made.since, 2)
    made.touch(7)
    assert.equal(made.since, 7)
    args('wslink_bin1')
    assert.equal(made.since, undefined)
  })
  it('are refused before authentication', () => {
    const made = new ProtocolV1().reader(1000)
    fails(() => made.read(Buffer.from('x'), 0), 1002, 'an attachment before authentication')
  })
  it('are limited to 100 levels', () => {
    const { announce, bytes, made } = reader(100_000)
    announce('wslink_bin1')
    bytes('x')
    const deep = `{"id": "1", "method": "m", "args": ${'['.repeat(10_000)}${']'.repeat(10_000)}}`
    fails(() => made.read(deep, 0), 1009, 'JSON has at most 100 levels, received more')
  })
})
