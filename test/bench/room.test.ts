import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { Connection, Listener } from '../../bench/connection.ts'
import { Room } from '../../bench/room.ts'
import { Template } from '../../bench/template.ts'

const template = new Template(['00000000'], 'plain')

/** What a room makes of these numbers, when so many messages were sent to one receiver. */
function outcome(sent: number, numbers: readonly number[]) {
  const receiver: { listener?: Listener } = {}
  const room = new Room({ socket: { write() {} } } as unknown as Connection, template)
  room.add(receiver as Connection, true, true)
  room.send(sent, 0, 0)
  for (const number of numbers) receiver.listener!.numbered!(number, 0)
  receiver.listener!.arrived(numbers.length)
  return { ...room.disorder, missing: room.missing }
}

it('messages in order are no disorder', () => {
  assert.deepEqual(outcome(3, [0, 1, 2]), { doubled: 0, reordered: 0, gaps: 0, missing: 0 })
})

it('what never comes is missing, and a gap once a later one has come', () => {
  assert.deepEqual(outcome(4, [0, 2]), { doubled: 0, reordered: 0, gaps: 1, missing: 2 })
})

it('what comes twice is doubled, what comes late is reordered', () => {
  assert.deepEqual(outcome(3, [0, 2, 1, 1]), { doubled: 1, reordered: 1, gaps: 0, missing: -1 })
})
