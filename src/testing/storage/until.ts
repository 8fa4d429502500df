import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Awaitable } from '../../contract/deadline.ts'

/** Milliseconds for asynchronous effects: expiry and delivery. */
const TIMEOUT = 30_000

/** Waits for a condition, with a deadline. */
export async function until(condition: () => Awaitable<boolean>): Promise<void> {
  const deadline = Date.now() + TIMEOUT
  while (!(await condition())) {
    if (Date.now() > deadline) assert.fail(`the condition was not met within ${TIMEOUT} ms`)
    await sleep(5)
  }
}
