import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Link } from '../../../../filters/messaging/resumption/link.ts'
import { Peers, type PeersOptions } from '../../../../filters/messaging/resumption/peers.ts'
import { openMemory } from '../../../support/memory-storage.ts'

it('hear nothing more after a stop, whatever the storage says to it', async () => {
  const { values } = openMemory()
  let subscriptions = 0
  const bus = {
    publish: () => {},
    subscribe: () => {
      subscriptions++
      return () => {
        subscriptions--
        throw new Error('no bus')
      }
    },
  }
  const link = new Link({ values: values!, bus }, 'a', error => assert.fail(String(error)))
  const rollCall = {
    start: async () => {},
    stop: async () => {
      throw new Error('no sets')
    },
  }
  const peers = new Peers({ link, rollCall } as unknown as PeersOptions)
  await peers.start()
  assert.equal(subscriptions, 2)
  await assert.rejects(peers.stop(), { message: 'no bus' })
  assert.equal(subscriptions, 0)
})
