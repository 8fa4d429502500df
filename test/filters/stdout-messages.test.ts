import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { FilterModule } from '../../src/contract/filter.ts'
import { testServer } from '../../src/testing/index.ts'

/** The ancestor's first example: takes the last character off. */
const popchar: FilterModule = { message: payload => payload.slice(0, -1) as string }

async function printed(filters: Parameters<typeof testServer>[0], payload: string | Buffer = 'Test'): Promise<string> {
  const server = await testServer(filters)
  const { client, say } = await server.connect()
  await say(payload)
  await server.stop()
  return server.printed.replaceAll(client.id, 'ID')
}

describe('stdout-messages', () => {
  it('prints every message with the id of its sender, word for word as the ancestor', async () => {
    assert.equal(await printed(['stdout-messages']), '--MESSAGE--\nID => Test\n')
  })

  it('prints what the filters before it have made of a message', async () => {
    assert.equal(await printed([popchar, 'stdout-messages']), '--MESSAGE--\nID => Tes\n')
    assert.equal(await printed(['stdout-messages', popchar]), '--MESSAGE--\nID => Test\n')
  })

  it('twice in a chain shows a message before and after', async () => {
    assert.equal(
      await printed(['stdout-messages', popchar, 'stdout-messages']),
      '--MESSAGE--\nID => Test\n--MESSAGE--\nID => Tes\n',
    )
  })

  it('prints a binary message as text', async () => {
    assert.equal(await printed(['stdout-messages'], Buffer.from('grüß')), '--MESSAGE--\nID => grüß\n')
  })

  it('prints nothing that was dropped before', async () => {
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
