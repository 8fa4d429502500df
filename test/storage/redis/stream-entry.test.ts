import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { it } from 'node:test'
import fc from 'fast-check'
import type { NewEntry } from '../../../src/contract/streams.ts'
import { readAnnouncement, readEntry, writeEntry } from '../../../storage/redis/stream-entry.ts'

const appender = { node: randomUUID(), call: 2 ** 40 + 3 }
const origin = `${appender.node.replaceAll('-', '')}/${appender.call}`

const entries = fc.record(
  {
    payload: fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.uint8Array().map(bytes => Buffer.from(bytes)),
    ),
    format: fc.stringMatching(/^[!-~]{1,64}$/),
    except: fc.string({ unit: 'grapheme' }),
  },
  { requiredKeys: ['payload'] },
)

/** An announcement as the scripts write it. */
function announcement(epoch: string, top: number, at: number, parts: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(2 + epoch.length + 12)
  head[0] = 1
  head[1] = epoch.length
  head.write(epoch, 2, 'latin1')
  head.writeUIntBE(top, 2 + epoch.length, 6)
  head.writeUIntBE(at, 8 + epoch.length, 6)
  return Buffer.concat([head, ...parts])
}

it('entries are read as they were written', () => {
  fc.assert(
    fc.property(entries, entry => {
      const read = readEntry(writeEntry(entry as NewEntry, appender), 5, 1000)
      assert.deepEqual(read, { ...entry, offset: 5, at: 1000, origin })
    }),
  )
})

it('announcements are read as they were written', () => {
  fc.assert(
    fc.property(fc.array(entries, { maxLength: 5 }), all => {
      const parts = all.map(entry => writeEntry(entry as NewEntry, appender))
      const read = readAnnouncement('t', announcement('a-epoch_', 100, 1_764_489_600_000, parts))
      const expected = all.map((entry, i) => ({
        ...entry,
        offset: 101 - all.length + i,
        at: 1_764_489_600_000,
        origin,
      }))
      assert.deepEqual(read, { topic: 't', top: { epoch: 'a-epoch_', offset: 100 }, entries: expected })
    }),
  )
})

it('bytes of an entry do not keep the announcement alive', () => {
  const part = writeEntry({ payload: Buffer.from('xy') }, appender)
  const read = readAnnouncement('t', announcement('epoch123', 1, 1, [part]))
  assert.ok(typeof read !== 'string')
  assert.equal((read.entries[0]!.payload as Buffer).buffer.byteLength, 2)
})

it('other bytes are refused with a message, never an exception', () => {
  const part = writeEntry({ payload: 'text', format: 'f', except: 'me' }, appender)
  const whole = announcement('epoch123', 1, 1, [part])
  for (let length = 0; length < whole.length; length++) {
    const read = readAnnouncement('t', whole.subarray(0, length))
    // Without its last entry it is an announcement of a change.
    if (length !== whole.length - part.length) assert.equal(typeof read, 'string', String(length))
  }
  for (let length = 0; length < part.length; length++)
    assert.equal(typeof readEntry(part.subarray(0, length), 1, 1), 'string')
  assert.equal(
    readAnnouncement('t', announcement('epoch123', 1, 1, [part, part])),
    'announcement of 2 entries up to offset 1',
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(whole.length - 1), fc.nat(255), (bytes, at, byte) => {
      readAnnouncement('t', Buffer.from(bytes))
      readEntry(Buffer.from(bytes), 1, 1)
      const changed = Buffer.from(whole)
      changed[at] = byte
      readAnnouncement('t', changed)
    }),
  )
})
