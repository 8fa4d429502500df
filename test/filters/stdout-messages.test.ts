import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { FilterModule } from '../../src/contract/filter.ts'
import { testServer } from '../../src/testing/index.ts'

/** The first example of filtered_websocket (Python): removes the last character. */
const popchar: FilterModule = { message: payload => payload.slice(0, -1) as string }

async function printed(filters: Parameters<typeof testServer>[0], payload: string | Buffer = 'Test'): Promise<string> {
  const server = await testServer(filters)
  const { client, say } = await server.connect()
  await say(payload)
  await server.stop()
  return server.printed.replaceAll(client.id, 'ID')
}

describe('stdout-messages', () => {
  it('prints each message with the id of its sender, in the format of filtered_websocket (Python)', async () => {
    assert.equal(await printed(['stdout-messages']), '--MESSAGE--\nID => Test\n')
  })

  it('prints the message as rewritten by earlier filters', async () => {
    assert.equal(await printed([popchar, 'stdout-messages']), '--MESSAGE--\nID => Tes\n')
    assert.equal(await printed(['stdout-messages', popchar]), '--MESSAGE--\nID => Test\n')
  })

  it('used twice in a chain, prints a message before and after a filter', async () => {
    assert.equal(
      await printed(['stdout-messages', popchar, 'stdout-messages']),
      '--MESSAGE--\nID => Test\n--MESSAGE--\nID => Tes\n',
    )
  })

  it('prints a binary message as text', async () => {
    assert.equal(await printed(['stdout-messages'], Buffer.from('grüß')), '--MESSAGE--\nID => grüß\n')
  })

  it('does not print messages that earlier filters dropped', async () => {
    assert.equal(await printed([{ message: (_, client) => client.drop() }, 'stdout-messages']), '')
  })

  it('passes messages on', async t => {
    const server = await testServer(['stdout-messages', 'echo'])
    t.after(() => server.stop())
    const { received, say } = await server.connect()
    await say('x')
    assert.deepEqual(received, ['x'])
  })
})
