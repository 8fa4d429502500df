import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limitsOf } from '../../../filters/messaging/wire/limits.ts'
import { type Action, frameOf, type Request, type Response } from '../../../filters/messaging/wire/message.ts'
import { frameString, readFrame, writeFrame } from '../../../protocols/clever-show/frame.ts'
import { messageOf } from '../../../protocols/clever-show/message.ts'
import { withPart } from '../../../protocols/clever-show/part.ts'
import { framed, headerOf, plainly, refusing, vector, vectors } from '../../support/messaging.ts'

const MAX = 1000

const read = (bytes: Buffer, max = MAX) => {
  const message = messageOf(readFrame(bytes, limitsOf(max)), limitsOf())
  return message && withPart(message)
}

describe('frames of clever-show', () => {
  const written = vectors.filter(({ header }) => header !== undefined)

  it('are recorded', () => {
    assert.equal(written.length, 36)
  })

  for (const { name, bytes, header, contentText } of written) {
    it(`${name} is read`, () => {
      const frame = readFrame(bytes, limitsOf(MAX))
      assert.deepEqual({ ...frame.header }, JSON.parse(header!))
      if (contentText !== undefined) assert.equal(frame.content.toString(), contentText)
    })
  }

  // Python 2 has the keys in another order, JSON.parse makes 1 of 1.0, and there is no NaN to send.
  const same = written.filter(
    ({ name }) =>
      name.startsWith('py3/') &&
      !['py3/response/object', 'py3/action/nan', 'py3/json/message-no-action'].includes(name),
  )
  for (const { name, bytes } of same) {
    it(`${name} is written byte by byte`, () => {
      assert.deepEqual(frameOf(read(bytes)!), bytes)
    })
  }

  it('are written byte by byte with the values of the application', () => {
    const kwargs = { time: 1.5 }
    assert.deepEqual(
      frameOf({ type: 'message', name: 'led_fill', args: [255, 0, 16], kwargs }),
      vector('py3/action/args'),
    )
    assert.deepEqual(
      frameOf({ type: 'request', name: 'config', id: '1234', args: [], kwargs: { send_configspec: true } }),
      vector('py3/request/kwargs'),
    )
    assert.deepEqual(
      frameOf({ type: 'response', name: 'id', id: '0007', value: 'copter0001' }),
      vector('py3/response/value'),
    )
    const content = Buffer.from('hello\n')
    assert.deepEqual(
      frameOf({ type: 'message', name: 'filetransfer', args: [], kwargs: { filepath: 'animation.csv' }, content }),
      vector('py3/file/push'),
    )
  })

  for (const python of ['py3', 'py27']) {
    it(`${python}: NaN and infinite numbers are read, and written as null`, () => {
      const said = read(vector(`${python}/action/nan`)) as Action
      assert.deepEqual(said.args, [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      assert.equal(
        readFrame(frameOf(said), limitsOf(MAX)).content.toString(),
        '{"args": [null, null, null], "kwargs": {}}',
      )
    })
  }

  it('may be in UTF-16', () => {
    assert.deepEqual(plainly(read(vector('ok/encoding-utf16'))), {
      type: 'message',
      name: 'note',
      args: [],
      kwargs: { u: 'é' },
    })
  })

  it('may have null args, as when a request is resent', () => {
    const { name, id, args, kwargs } = read(vector('observed/resend-request')) as Request
    assert.deepEqual([name, id, args, { ...kwargs }], ['later', '4513', [], {}])
  })
})

describe('a frame on which clever-show fails', () => {
  const why: Readonly<Record<string, string>> = {
    'bad/header-not-json': 'the header of a frame is not JSON',
    'bad/header-empty-object': 'byteorder is a string, received undefined',
    'bad/header-zero-length': 'the header of a frame is not JSON',
    'bad/content-not-json': 'the content of a message is not JSON',
    'bad/encoding-unknown': 'the content of a message is not in the encoding "klingon"; send utf-8',
    'bad/no-action': 'action is a string of 1 to 1024 characters, received undefined',
    'bad/length-negative': 'content-length is a number of bytes, received -1',
    'bad/length-string': 'content-length is a number of bytes, received "2"',
    'bad/content-null': 'the content of a message is an object, received null',
  }
  for (const [name, message] of Object.entries(why)) {
    it(`${name} is refused`, () => {
      assert.throws(() => read(vector(name)), refusing(message))
    })
  }

  it('is accepted if only kwargs are missing', () => {
    assert.deepEqual(plainly(read(vector('bad/action-without-kwargs'))), {
      type: 'message',
      name: 'note',
      args: [],
      kwargs: {},
    })
  })

  it('is ignored when its type is unknown', () => {
    assert.equal(read(vector('odd/unknown-message-type')), undefined)
  })
})

describe('a frame', () => {
  const cases: readonly (readonly [what: string, bytes: Buffer, why: string, code?: number])[] = [
    ['whose header is an array', framed('[]'), 'the header of a frame is an object, received an array'],
    ['whose header is null', framed('null'), 'the header of a frame is an object, received null'],
    [
      'whose header is no UTF-8',
      framed('{"a": "\xff"}').fill(0xff, 9, 10),
      'the header of a frame is not in the encoding "utf-8"; send utf-8',
    ],
    ['whose header has a mark in front', framed('\ufeff{}'), 'the header of a frame is not JSON'],
    ['whose type is a number', framed(headerOf('', { 'message-type': 1 })), 'message-type is a string, received 1'],
    [
      'with half a byte',
      framed(headerOf('', { 'content-length': 1.5 })),
      'content-length is a number of bytes, received 1.5',
    ],
    [
      'with more than can be counted',
      framed(headerOf('', { 'content-length': 2 ** 53 })),
      'content-length is a number of bytes, received 9007199254740992',
    ],
    [
      'with more than is taken',
      framed(headerOf('', { 'content-length': 1001 })),
      'a content has at most 1000 bytes, 1001 are announced',
      1009,
    ],
    ['that is empty', Buffer.alloc(0), 'a frame ends in its header'],
    ['that ends in its header', vector('py3/action/simple').subarray(0, 100), 'a frame ends in its header'],
    [
      'that ends in its content',
      vector('py3/action/simple').subarray(0, -1),
      'the frame announces 26 bytes, and 25 are in it',
    ],
    [
      'with another behind it',
      Buffer.concat([vector('py3/action/simple'), Buffer.from('x')]),
      'the frame announces 26 bytes, and 27 are in it',
    ],
    [
      'whose content is an array',
      framed(headerOf('[]', { action: 'x' }), '[]'),
      'the content of a message is an object, received an array',
    ],
    [
      'whose content is no UTF-8',
      framed(headerOf('x', { action: 'x' }), Buffer.of(0xff)),
      'the content of a message is not in the encoding "utf-8"; send utf-8',
    ],
    [
      'whose args are an object',
      framed(headerOf('{"args":{}}', { action: 'x' }), '{"args":{}}'),
      'args is an array, received an object',
    ],
    [
      'whose kwargs are an array',
      framed(headerOf('{"kwargs":[]}', { action: 'x' }), '{"kwargs":[]}'),
      'kwargs is an object, received an array',
    ],
    [
      'whose kwargs are a text',
      framed(headerOf('{"kwargs":""}', { action: 'x' }), '{"kwargs":""}'),
      'kwargs is an object, received ""',
    ],
    [
      'with an empty action',
      framed(headerOf('{}', { action: '' }), '{}'),
      'action is a string of 1 to 1024 characters, received ""',
    ],
    [
      'that is an action of bytes',
      framed(headerOf('x', { action: 'x', 'content-type': 'binary' }), 'x'),
      'the content of a message is json, received "binary"',
    ],
    [
      'that is a file without a place',
      framed(headerOf('x', { action: 'filetransfer', 'content-type': 'binary' }), 'x'),
      'filepath is a string of 1 to 1024 characters, received undefined',
    ],
    [
      'that asks for nothing',
      framed(headerOf('{}', { 'message-type': 'request' }), '{}'),
      'requested_value is a string of 1 to 1024 characters, received undefined',
    ],
    [
      'whose name is a novel',
      framed(headerOf('{}', { action: 'x'.repeat(1025) }), '{}'),
      `action is a string of 1 to 1024 characters, received "${'x'.repeat(60)}..."`,
    ],
    [
      'that asks without an id',
      framed(headerOf('{"requested_value":"a"}', { 'message-type': 'request' }), '{"requested_value":"a"}'),
      'an id is a number or a string of at most 1024 characters, received undefined',
    ],
    [
      'that answers nothing',
      framed(headerOf('{}', { 'message-type': 'response', request_id: '1', requested_value: 'a' }), '{}'),
      'a response has a value',
    ],
    [
      'that answers nobody',
      framed(headerOf('{}', { 'message-type': 'response', requested_value: 'a' }), '{}'),
      'an id is a number or a string of at most 1024 characters, received undefined',
    ],
  ]
  for (const [what, bytes, why, code] of cases) {
    it(`${what} is refused`, () => {
      assert.throws(() => read(bytes), refusing(why, code))
    })
  }

  it('nested deeper than 100 is refused, also beyond what the stack holds', () => {
    for (const depth of [99, 200_000]) {
      const content = `{"args":${'['.repeat(depth)}${']'.repeat(depth)}}`
      const bytes = framed(headerOf(content, { action: 'x' }), content)
      if (depth < 100) assert.equal((read(bytes) as Action).args.length, 1)
      else
        assert.throws(
          () => read(bytes, 1_000_000),
          refusing('the content of a message: JSON has at most 100 levels, received more', 1009),
        )
    }
  })

  it('is refused without inspection of its values, at any depth', () => {
    const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
    const deep = nested(99)
    assert.throws(() => read(framed(deep)), refusing('the header of a frame is an object, received an array'))
    assert.throws(
      () => read(framed(nested(30_000))),
      refusing('the header of a frame: JSON has at most 100 levels, received more', 1009),
    )
    const header = JSON.stringify(
      headerOf('{"value":0}', { 'message-type': 'response', request_id: '1', requested_value: 'a' }),
    )
    const { error } = read(framed(header.replace('{', `{"error":${deep},`), '{"value":0}')) as Response
    assert.deepEqual(error, { code: 'failed', message: 'an array' })
    for (const [content, why, code] of [
      [deep, 'the content of a message is an object, received an array', 1007],
      [`{"args":{"a":${nested(98)}}}`, 'args is an array, received an object', 1007],
      [`{"args":{"a":${deep}}}`, 'the content of a message: JSON has at most 100 levels, received more', 1009],
    ] as const)
      assert.throws(() => read(framed(headerOf(content, { action: 'x' }), content), 100_000), refusing(why, code))
  })

  it('has at most 100,000 elements, an object or array counting twice', () => {
    for (const [count, item, elements] of [
      [99_998, '1', 99_999],
      [49_999, '{}', 99_999],
      [100_001, '0', 100_002],
      [50_001, '{}', 100_003],
      [50_001, '[]', 100_003],
    ] as const) {
      const content = `{"args":[${Array(count).fill(item)}]}`
      const bytes = framed(headerOf(content, { action: 'x' }), content)
      if (elements <= 100_000) assert.equal((read(bytes, 1_000_000) as Action).args.length, count)
      else
        assert.throws(
          () => read(bytes, 1_000_000),
          refusing(`the content of a message: JSON has at most 100000 elements, received more`, 1009),
        )
    }
  })

  it('may have a number as an id, which is sent back unchanged', () => {
    const content = '{"requested_value":"a","request_id":7}'
    const asked = read(framed(headerOf(content, { 'message-type': 'request' }), content)) as Request
    const answer = read(frameOf({ type: 'response', name: 'a', id: asked.id, value: 1 })) as Response
    assert.deepEqual([asked.id, answer.id, answer.value], [7, 7, 1])
  })

  it('has contents without prototypes', () => {
    const content =
      '{"args":[{"a":{"constructor":{"prototype":{"polluted":1}}}}],"kwargs":{"__proto__":{"polluted":1},"x":[{}]}}'
    const { args, kwargs } = read(framed(headerOf(content, { action: 'x' }), content)) as Action
    const [first] = args as { a: { constructor: object } }[]
    for (const object of [kwargs, first, first!.a, first!.a.constructor, (kwargs.x as object[])[0]])
      assert.equal(Object.getPrototypeOf(object), null)
    assert.deepEqual(Object.keys(kwargs), ['__proto__', 'x'])
    assert.equal('toString' in kwargs, false)
    assert.equal(({} as { polluted?: number }).polluted, undefined)
  })

  it('has an error next to the value null', () => {
    const error = { code: 'unknown', message: 'there is no request "x"' }
    const bytes = frameOf({ type: 'response', name: 'x', id: '0001', value: null, error })
    const { header, content } = readFrame(bytes, limitsOf(MAX))
    assert.deepEqual([{ ...(header.error as object) }, content.toString()], [error, '{"value": null}'])
    assert.deepEqual(plainly(read(bytes)), { type: 'response', name: 'x', id: '0001', value: null, error })
  })

  it('with an error of an unknown form is an error', () => {
    const content = '{"value":null}'
    const more = { 'message-type': 'response', request_id: '1', requested_value: 'a', error: 'bad' }
    const { error } = read(framed(headerOf(content, more), content)) as Response
    assert.deepEqual(error, { code: 'failed', message: '"bad"' })
  })

  it('has a header of at most 65,535 bytes', () => {
    assert.throws(() => frameOf({ type: 'message', name: 'x'.repeat(65_535), args: [], kwargs: {} }), {
      name: 'RangeError',
      message: 'a header has at most 65535 bytes, received 65674; shorten its names',
    })
  })

  it('with bytes as content has them unchanged', () => {
    const content = Buffer.of(0, 1, 0xff)
    const bytes = writeFrame(Buffer, 'message', 'filetransfer', undefined, { filepath: 'a' }, content)
    assert.deepEqual(readFrame(bytes, limitsOf(MAX)).content, content)
    assert.deepEqual((read(bytes) as Action).content, content)
  })

  for (const [what, type, name, id, fields, content] of [
    ['a request', 'request', 'a', '0001', {}, '{"args": [1], "kwargs": {}}'],
    ['an action with fields', 'message', 'a', undefined, { at: 1.5, topic: 'x' }, '{"args": [], "kwargs": {}}'],
    ['a long header', 'response', 'x'.repeat(1000), 7, { error: { code: 'failed' } }, '{"value": null}'],
    ['a header of 200 bytes', 'response', 'x'.repeat(52), 7, {}, '{"value": 1}'],
  ] as const) {
    it(`as a string is byte for byte the same: ${what}`, () => {
      const string = frameString(Buffer, type, name, id, fields, content)
      assert.deepEqual(Buffer.from(string!, 'latin1'), writeFrame(Buffer, type, name, id, fields, content))
    })
  }

  for (const [what, name, content] of [
    ['a content', 'a', '{"args": ["é"], "kwargs": {}}'],
    ['a name', 'é', '{"args": [], "kwargs": {}}'],
    ['bytes', 'filetransfer', Buffer.of(1)],
  ] as const) {
    it(`is no string with ${what} that is not ASCII`, () => {
      assert.equal(frameString(Buffer, 'message', name, undefined, {}, content), undefined)
    })
  }

  it('as a string has the same limits', () => {
    const json = '{"args": [], "kwargs": {}}'
    assert.throws(() => frameString(Buffer, 'message', 'a', undefined, {}, json, 10), RangeError)
    assert.throws(() => frameString(Buffer, 'message', 'x'.repeat(65_535), undefined, {}, json), RangeError)
  })
})
