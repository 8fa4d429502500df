import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { it } from 'node:test'
import { CLAIM, freePort } from './port.ts'

it('a free port and the ports above it are claimed by their process', async t => {
  const port = await freePort(7)
  for (const claimed of [port, port + 7]) {
    const socket = createSocket('udp4')
    t.after(() => void socket.close())
    await assert.rejects(once(socket.bind(claimed + CLAIM, '127.0.0.1'), 'listening'), { code: 'EADDRINUSE' })
  }
})
