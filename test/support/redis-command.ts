import { once } from 'node:events'
import { connect } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'

/** A reply; errors in arrays are `Error` objects. */
export type Reply = string | number | null | Error | Reply[]

/** Sends a command over its own connection. @throws (rejects) the error reply of Redis. */
export async function command(url: string, args: readonly string[], tls: ConnectionOptions = {}): Promise<Reply> {
  const { protocol, hostname, port, username, password } = new URL(url)
  const credentials = [username, password].filter(Boolean).map(decodeURIComponent)
  const requests = credentials.length > 0 ? [['AUTH', ...credentials], args] : [args]
  const at = { host: hostname, port: Number(port || 6379) }
  const secure = protocol === 'rediss:'
  const socket = secure ? connectTls({ ...at, ...tls }) : connect(at)
  const deadline = setTimeout(
    () => socket.destroy(new Error(`no reply of ${at.host}:${at.port} to ${args[0]}`)),
    30_000,
  )
  try {
    await once(socket, secure ? 'secureConnect' : 'connect')
    socket.write(requests.map(encode).join(''))
    let bytes = Buffer.alloc(0)
    for await (const chunk of socket) {
      bytes = Buffer.concat([bytes, chunk])
      const replies = parseAll(bytes, requests.length)
      if (replies === undefined) continue
      const error = replies.find(reply => reply instanceof Error)
      if (error !== undefined) throw error
      return replies.at(-1)!
    }
    throw new Error(`${at.host}:${at.port} closed the connection without a reply to ${args[0]}`)
  } finally {
    clearTimeout(deadline)
    socket.on('error', () => {}).destroy()
  }
}

function encode(args: readonly string[]): string {
  return `*${args.length}\r\n${args.map(arg => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join('')}`
}

type Parsed<T> = { readonly value: T; readonly end: number } | undefined

function parseAll(bytes: Buffer, count: number): Reply[] | undefined {
  return parseMany(bytes, 0, count)?.value
}

function parseMany(bytes: Buffer, start: number, count: number): Parsed<Reply[]> {
  const value: Reply[] = []
  let end = start
  while (value.length < count) {
    const one = parse(bytes, end)
    if (one === undefined) return undefined
    value.push(one.value)
    end = one.end
  }
  return { value, end }
}

/** RESP 2 (redis.io/docs/latest/develop/reference/protocol-spec); `undefined` if the reply is not complete. */
function parse(bytes: Buffer, start: number): Parsed<Reply> {
  const line = bytes.indexOf('\r\n', start)
  if (line < 0) return undefined
  const head = bytes.toString('utf8', start + 1, line)
  const next = line + 2
  switch (bytes.toString('latin1', start, start + 1)) {
    case '+':
      return { value: head, end: next }
    case '-':
      return { value: new Error(head), end: next }
    case ':':
      return { value: Number(head), end: next }
    case '$': {
      if (head === '-1') return { value: null, end: next }
      const end = next + Number(head)
      return bytes.length < end + 2 ? undefined : { value: bytes.toString('utf8', next, end), end: end + 2 }
    }
    case '*':
      return head === '-1' ? { value: null, end: next } : parseMany(bytes, next, Number(head))
    default:
      throw new Error(`not RESP: ${JSON.stringify(bytes.toString('latin1', start, line))}`)
  }
}
