import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { faults } from '../../../support/kill-faults.ts'
import { endureWithFile } from '../../../support/kill-files.ts'
import { broken, endure } from '../../../support/kills.ts'
import { skipWithoutOwn } from '../../../support/redis.ts'

// The complete table, with more messages: npm run bench:messaging-faults
const SHORT = { rate: 20, calm: 500, deadline: 90_000 }

// Over TCP, a server that does not answer the first registration within 2 s is taken for clever-show, which confirms no action.
describe('messages between a server and a client', { concurrency: 2 }, () => {
  for (const [name, over] of [
    ['server killed, memory', 'tcp'],
    ['server killed, client comes back to another', 'tcp'],
    ['client killed, Redis', 'ws'],
    ['network cut during each of 5 resumes', 'ws'],
    ['answers lost, then cut', 'tcp'],
    ['half-open for 3 s', 'tcp'],
    ['client moves to another node, and back', 'ws'],
    ['Redis cut off for 3 s', 'tcp'],
  ] as const) {
    it(`${name}, over ${over}: none lost, none run twice without repeated`, {
      skip: faults[name]!.storage === 'redis' && skipWithoutOwn,
    }, async () => {
      const outcome = await endure(name, { over, ...SHORT })
      assert.deepEqual(broken(name, outcome), [])
      // Killed during its work, which its successor does again with `repeated: true`.
      const { call, deliver, emit, ask } = outcome
      if (name.startsWith('server killed')) assert.ok(call.reported + deliver.reported > 0)
      if (name.startsWith('client killed')) assert.ok(emit.reported + ask.reported > 0)
    })
  }
})

describe('a file between a server and a client', { concurrency: 4 }, () => {
  for (const [name, direction, over] of [
    ['server killed, memory', 'push', 'tcp'],
    ['server killed, memory', 'pull', 'ws'],
    ['client killed', 'push', 'ws'],
    ['client killed', 'pull', 'tcp'],
    ['network cut', 'push', 'tcp'],
    ['half-open for 3 s', 'pull', 'tcp'],
  ] as const) {
    it(`${name}, in the middle of a ${direction} over ${over}: it arrives complete`, async () => {
      const { isWhole } = await endureWithFile(name, direction, over, 90_000)
      assert.ok(isWhole)
    })
  }
})
