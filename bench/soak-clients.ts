// The clients of a soak. Each leads one life, and has gone when `done` resolves.
import { connect, type Socket } from 'node:net'
import { type ClientOptions, WebSocket } from 'ws'
import { BINARY, CONTINUATION, closeFrame, frame, handshake, PING, TEXT } from '../test/support/frames.ts'

export interface Visitor {
  readonly done: Promise<unknown>
  /** Ends its life now. */
  end(): void
}

/** Milliseconds for which a slow reader does not read: longer than the heartbeat, and enough to fill its buffers. */
const UNREAD = 12_000
/** Messages that a client receives before it leaves. */
const MESSAGES = 3
/** Milliseconds between the messages of a resident, and their bytes. */
const PERIOD = 50
const SIZE = 8192

/** Frames and bytes that break RFC 6455, or its limits. */
const BAD: readonly Buffer[] = [
  frame(TEXT, 'not masked', { masked: false }),
  frame(TEXT, 'reserved bit', { rsv: 1 }),
  frame(3, 'reserved opcode'),
  frame(TEXT, Buffer.from([0xff, 0xfe])),
  frame(CONTINUATION, 'nothing to continue'),
  frame(PING, 'x'.repeat(126)),
  frame(PING, 'in fragments', { fin: false }),
  frame(BINARY, '', { declared: 2 ** 40 }),
  frame(TEXT, 'not deflate', { rsv: 4 }),
  closeFrame(1005),
  Buffer.from('GET / HTTP/1.1\r\n\r\n'),
]

/** How many visitors of each kind there are at a time, and what they do. */
export const kinds: Readonly<Record<string, { readonly count: number; visit(url: string, nth: number): Visitor }>> = {
  resident: { count: 4, visit: url => talker(url, Number.POSITIVE_INFINITY) },
  churn: { count: 8, visit: url => talker(url, MESSAGES) },
  compressed: { count: 4, visit: url => talker(url, MESSAGES, { perMessageDeflate: { threshold: 0 } }) },
  reset: {
    count: 4,
    visit: url =>
      raw(url, socket => {
        socket.write(frame(TEXT, 'before a reset'))
        socket.once('data', () => socket.resetAndDestroy())
      }),
  },
  // They answer no ping, so only the heartbeat ends them.
  'half-open': { count: 8, visit: url => raw(url, socket => socket.resume()) },
  'half a handshake': { count: 4, visit: url => raw(url, () => {}, handshake(url).slice(0, -2)) },
  'slow reader': {
    count: 4,
    visit: url =>
      raw(url, socket => {
        socket.pause()
        const timer = setTimeout(() => socket.resume(), UNREAD)
        socket.once('close', () => clearTimeout(timer))
      }),
  },
  'bad frame': {
    count: 4,
    visit: (url, nth) =>
      raw(url, socket => {
        socket.resume()
        socket.write(BAD[nth % BAD.length]!)
      }),
  },
}

/** Sends until it has received `most` messages, and closes. */
function talker(url: string, most: number, options: ClientOptions = {}): Visitor {
  const ws = new WebSocket(url, { perMessageDeflate: false, ...options })
  let received = 0
  let timer: NodeJS.Timeout | undefined
  ws.on('open', () => {
    timer = setInterval(() => ws.send('x'.repeat(SIZE)), PERIOD)
  })
  ws.on('message', () => {
    if (++received === most) ws.close()
  })
  ws.on('error', () => {})
  const done = new Promise<void>(resolve =>
    ws.on('close', () => {
      clearInterval(timer)
      resolve()
    }),
  )
  return { done, end: () => ws.terminate() }
}

/** A socket with a handshake, which `live` gets after the answer. */
function raw(url: string, live: (socket: Socket) => void, opening = handshake(url)): Visitor {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  socket.write(opening)
  socket.once('data', () => live(socket))
  return { done: new Promise(resolve => socket.once('close', resolve)), end: () => socket.destroy() }
}
