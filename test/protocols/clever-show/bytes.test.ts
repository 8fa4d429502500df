import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { webBytes } from '../../../protocols/clever-show/bytes.ts'
import { readFrame } from '../../../protocols/clever-show/frame.ts'
import { frameOf, type Messaging, messageOf } from '../../../protocols/clever-show/message.ts'
import { withPart } from '../../../protocols/clever-show/part.ts'
import { readEnvelope } from '../../../protocols/nanollm/envelope.ts'
import { vectors as envelopes } from '../../support/media.ts'
import { plainly } from '../../support/messaging.ts'
import { root } from '../../support/root.ts'

const limits = { maxContent: 1000, parse: JSON.parse }
const content = Uint8Array.of(0, 1, 0xff)
const messages: readonly Messaging[] = [
  { type: 'message', name: 'led_fill', args: [255, 0, 16], kwargs: { time: 1.5 } },
  { type: 'message', name: 'grüße', id: 'e.1', args: ['\u{1f681}'], kwargs: { ключ: '\0' }, at: 1.25, topic: 't' },
  { type: 'request', name: 'telemetry', id: 7, args: [], kwargs: {}, resend: true },
  { type: 'response', name: 'id', id: '0007', value: ['é', null] },
  { type: 'response', name: 'x', id: '1', value: null, error: { code: 'unknown', message: 'no "x"' } },
  { type: 'message', name: 'filetransfer', args: [], kwargs: { filepath: 'ä.csv' }, content },
]

describe('without Node', () => {
  for (const message of messages)
    it(`a frame has the same bytes: ${message.type} ${message.name}`, () => {
      const frame = frameOf(message, webBytes)
      assert.equal(frame.constructor, Uint8Array)
      assert.deepEqual(Buffer.from(frame), frameOf(message, Buffer))
      assert.deepEqual(plainly(withPart(messageOf(readFrame(frame, limits), limits)!)), plainly(message))
    })

  it('a content has the class of the bytes that are read', () => {
    const { bytes } = envelopes.find(({ name }) => name.startsWith('c2s/binary'))!
    assert.ok(Buffer.isBuffer(readEnvelope(bytes).payload))
    assert.equal(readEnvelope(Uint8Array.from(bytes)).payload.constructor, Uint8Array)
    const frame = frameOf(messages[5]!, Buffer)
    assert.ok(Buffer.isBuffer(readFrame(frame, limits).content))
    assert.equal(readFrame(Uint8Array.from(frame), limits).content.constructor, Uint8Array)
  })

  it('the protocols import no modules of Node, filters or clients', () => {
    const folder = join(root, 'protocols')
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'))
    assert.ok(files.length > 10)
    const imports = files.flatMap(file =>
      [...readFileSync(join(folder, file), 'utf8').matchAll(/from '([^']+)'/g)].map(([, from]) => from!),
    )
    assert.deepEqual(
      imports.filter(from => !/^\.{1,2}\/[a-z]+\.ts$|^\.\.\/\.\.\/src\/kit\/(?:hostname|json)\.ts$/.test(from)),
      [],
    )
  })
})
