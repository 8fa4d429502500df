import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { type Endpoint, formatEndpoint } from 'filtered-websocket/kit'
import { type Measured, measured } from '../../protocols/ntp/measurement.ts'

export const NTP_PORT = 123
/** Milliseconds for name lookup and answer. */
const TIMEOUT = 2000
const BYTES = 48
/** Version 3, mode 3 (client). */
const QUERY = 0x1b
const SERVER_MODE = 4
/** Leap indicator of a clock that is not synchronized. */
const UNSET = 3
const MAX_STRATUM = 15
/** Offsets of the timestamps, 8 bytes each. */
const ORIGINATE = 24
const RECEIVE = 32
const TRANSMIT = 40
const NONE = Buffer.alloc(8)
/** Seconds from 1900 to 1970. */
const TO_1970 = 2_208_988_800
/** Seconds without the top bit belong to the era from 2036 (RFC 4330, section 3). */
const SINCE_2036 = 2 ** 31
const ERA = 2 ** 32

/**
 * By how many seconds the clock of an NTP server is ahead (RFC 4330).
 *
 * @param now - seconds since 1970 by our clock.
 * @throws (rejects) Error: no valid answer within 2 seconds; the signal's reason.
 */
export async function askNtp(server: Endpoint, now: () => number, signal?: AbortSignal): Promise<Measured> {
  signal?.throwIfAborted()
  const name = `NTP server ${formatEndpoint(server)}`
  let timer: NodeJS.Timeout | undefined
  let abort = () => {}
  let socket: Socket | undefined
  const failed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${name} has not answered within ${TIMEOUT} ms`)), TIMEOUT)
    abort = () => reject(signal!.reason)
    signal?.addEventListener('abort', abort)
  })
  try {
    const { address, family } = await Promise.race([lookup(server.host), failed])
    socket = createSocket(family === 6 ? 'udp6' : 'udp4')
    return await Promise.race([exchange(socket, { host: address, port: server.port }, now), failed])
  } catch (error) {
    throw error instanceof InvalidAnswer ? new Error(`${name}: ${error.message}`) : error
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
    socket?.close()
  }
}

class InvalidAnswer extends Error {}

/** The socket is connected, so the system drops datagrams from other addresses. */
function exchange(socket: Socket, { host, port }: Endpoint, now: () => number): Promise<Measured> {
  const query = Buffer.alloc(BYTES)
  query[0] = QUERY
  // Random in place of our time, which the server does not need; it shows which query an answer belongs to.
  randomBytes(NONE.length).copy(query, TRANSMIT)
  return new Promise((resolve, reject) => {
    let sent = Number.NaN
    socket.on('error', reject)
    socket.once('message', answer => {
      const received = now()
      try {
        resolve(readAnswer(answer, query, sent, received))
      } catch (error) {
        reject(error)
      }
    })
    // Its types omit the error of the callback.
    socket.connect(port, host, (error?: Error) => {
      if (error !== undefined) return reject(error)
      sent = now()
      socket.send(query)
    })
  })
}

/** @throws InvalidAnswer */
function readAnswer(answer: Buffer, query: Buffer, sent: number, received: number): Measured {
  if (answer.length < BYTES) throw new InvalidAnswer(`an answer of ${answer.length} bytes`)
  const [first, stratum] = [answer.readUInt8(0), answer.readUInt8(1)]
  if ((first & 7) !== SERVER_MODE) throw new InvalidAnswer(`mode ${first & 7}, a server answers with mode 4`)
  if (first >> 6 === UNSET || stratum < 1 || stratum > MAX_STRATUM)
    throw new InvalidAnswer(`its clock is not synchronized, or it refuses: stratum ${stratum}`)
  const originate = answer.subarray(ORIGINATE, RECEIVE)
  // Simple servers send zeros.
  if (!originate.equals(query.subarray(TRANSMIT)) && !originate.equals(NONE))
    throw new InvalidAnswer('an answer to another query')
  const transmit = timestampIn(answer, TRANSMIT)
  if (transmit === undefined) throw new InvalidAnswer('an answer without a transmit timestamp')
  const there = [timestampIn(answer, RECEIVE) ?? transmit, transmit] as const
  const time = measured([sent, received], there)
  if (time === undefined) throw new InvalidAnswer('it claims a longer processing time than the round trip')
  return time
}

/** Seconds since 1970; `undefined`: the timestamp is not set. */
function timestampIn(answer: Buffer, at: number): number | undefined {
  const seconds = answer.readUInt32BE(at)
  const fraction = answer.readUInt32BE(at + 4)
  if (seconds === 0 && fraction === 0) return undefined
  return seconds + (seconds < SINCE_2036 ? ERA : 0) - TO_1970 + fraction / 2 ** 32
}
