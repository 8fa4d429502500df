import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { presenceOf } from '../../../client/topics/presence.ts'

describe('the users of a topic', () => {
  it('count joins and leaves also if the list does not have all users', async () => {
    const counts: number[] = []
    const handle = presenceOf(
      (_, count) => counts.push(count),
      () => {},
    )
    for (const change of [
      { members: [{ user: 'ann' }], users: 3 },
      { join: { user: 'bob' } },
      { leave: { user: 'eve' } },
    ]) {
      handle(change)
      await turn()
    }
    assert.deepEqual(counts, [3, 4, 3])
  })
})
