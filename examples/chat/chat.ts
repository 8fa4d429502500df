import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Access, type Client, DROP, type Drop, type Publication } from 'filtered-websocket'
import type {} from '../../filters/jwt.ts'

export const describe = 'Rooms of the chat: who writes, what and when'

/** Other filters rely on the identity. */
export const stage = 'guard'

const ROOM = /^chat\/[\p{L}\p{N}_-]{1,32}$/u
const NAME = /^[\p{L}\p{N}_-]{1,20}$/u
/** UTF-16 units, as the `maxlength` of an input counts. */
const MAX_TEXT = 500
const SECRET = /^[\w-]{22}$/
/** With `Strict` a link from another site would come without the cookie, and get another one. */
const COOKIE = 'Path=/; Max-Age=31536000; SameSite=Lax'

/**
 * Gives each browser a secret in a cookie that scripts cannot read. Its hash is the public id of the person, which they can: it proves
 * that messages come from one browser. The name is chosen by the person, and proves nothing.
 */
export function request(req: IncomingMessage, res: ServerResponse): void {
  if (req.method !== 'GET' || SECRET.test(cookiesOf(req.headers.cookie).get('chat_secret') ?? '')) return
  const secret = randomBytes(16).toString('base64url')
  res.setHeader('Set-Cookie', [`chat_secret=${secret}; HttpOnly; ${COOKIE}`, `chat_id=${idOf(secret)}; ${COOKIE}`])
}

/** Each client without the cookie is another person. */
export function connect(client: Client): void {
  const cookies = cookiesOf(client.handshake?.headers.cookie)
  const secret = cookies.get('chat_secret') ?? ''
  const id = idOf(SECRET.test(secret) ? secret : client.id)
  const name = cookies.get('chat_name') ?? ''
  client.identity = id
  // As filter jwt does: others in a room see `info`.
  client.state.user = { sub: id, info: { name: NAME.test(name) ? name : `guest-${id.slice(0, 4)}` } }
}

export const permit = ({ topic = '' }: Access) => ROOM.test(topic)

/** Clients publish a string, or `{name}` to change their name. The server adds the author and the time. */
export function publish({ topic, payload }: Publication, from: Client | undefined): string | Drop | undefined {
  if (!ROOM.test(topic)) return undefined
  const said: unknown = JSON.parse(payload.toString())
  const { sub: id, info } = from?.state.user ?? { info: { name: 'server' } }
  const { name } = info as { name: string }
  const at = Date.now()
  if (typeof said === 'string') {
    const text = said.trim()
    return text !== '' && text.length <= MAX_TEXT ? JSON.stringify({ id, name, text, at }) : DROP
  }
  const { name: next } = Object(said)
  return typeof next === 'string' && NAME.test(next) ? JSON.stringify({ id, name: next, was: name, at }) : DROP
}

function idOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex').slice(0, 12)
}

function cookiesOf(header = ''): ReadonlyMap<string, string> {
  return new Map(
    header.split(/; */).map(pair => {
      const at = pair.indexOf('=')
      return [pair.slice(0, at), decoded(pair.slice(at + 1))]
    }),
  )
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}
