import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'

/** Seconds from 1900 to 1970. */
const TO_1970 = 2_208_988_800

/** Seconds since 1970 in the 8 bytes of NTP. */
export function instant(seconds: number): Buffer {
  const bytes = Buffer.alloc(8)
  const since1900 = seconds + TO_1970
  bytes.writeUInt32BE(Math.floor(since1900) % 2 ** 32)
  bytes.writeUInt32BE(Math.floor((since1900 % 1) * 2 ** 32), 4)
  return bytes
}

/** The response of a server whose clock is `ahead` seconds fast (RFC 4330). */
export function answerTo(query: Buffer, ahead = 0, here = Date.now() / 1000): Buffer {
  const answer = Buffer.alloc(48)
  answer[0] = 0x1c
  answer[1] = 2
  query.copy(answer, 24, 40, 48)
  instant(here + ahead).copy(answer, 32)
  instant(here + ahead).copy(answer, 40)
  return answer
}

/** An NTP server on a free port of 127.0.0.1; it does not respond if `answer` returns `undefined`. */
export async function ntpServer(
  t: { after(fn: () => void): void },
  answer: (query: Buffer, from: RemoteInfo) => Buffer | undefined | Promise<Buffer | undefined>,
) {
  const socket = createSocket('udp4')
  let isOpen = true
  t.after(() => {
    isOpen = false
    socket.close()
  })
  const queries: Buffer[] = []
  socket.on('message', async (query, from) => {
    queries.push(query)
    const bytes = await answer(query, from)
    if (bytes !== undefined && isOpen) socket.send(bytes, from.port, from.address)
  })
  await once(socket.bind(0, '127.0.0.1'), 'listening')
  const { port } = socket.address()
  return { queries, host: '127.0.0.1', port, at: `127.0.0.1:${port}` }
}
