import { type IncomingMessage, validateHeaderName, validateHeaderValue } from 'node:http'
import { optionError } from 'filtered-websocket/kit'

/** Why a connection failed; `isFinal`: a later attempt would fail too. */
export interface Failure {
  readonly message: string
  readonly isFinal: boolean
}

/** Characters of a text of the server that are shown. */
const MAX_SHOWN = 200
/** Statuses from 400 to 499 after which a later attempt may succeed: request timeout, too early, too many requests. */
const TEMPORARY: readonly number[] = [408, 425, 429]
/** The name of a subprotocol (RFC 6455, section 4.1). */
const TOKEN = /^[!#$%&'*+.^_`|~\w-]+$/
/** Codes of Node for a certificate that is not trusted, and for a server without TLS. */
const TLS_CODE = /^(?:ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|EPROTO)/
/** Messages of `ws` about an answer that is not a handshake that this client can accept. */
const WRONG_ANSWER = /^(?:Server |Invalid )/
/** Message of `ws` for an attempt that takes too long. */
const CANCELED = 'WebSocket was closed before the connection was established'
/** Code of `ws` for a message that is larger than `maxPayload`. */
const TOO_LARGE = 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'

/** The URL of a command, its only word. @throws Error `ERR_OPTION` */
export function urlOf(command: string, words: readonly string[]): URL {
  const example = `fws-server ${command} ws://127.0.0.1:9000`
  const [word, ...more] = words
  if (word === undefined) throw optionError(`${command} needs a URL before all options: ${example}`)
  // Words are not shown: they may be a part of a secret, and a URL may have a password.
  if (more.length > 0) throw optionError(`unexpected word after the URL; quote values that have spaces`)
  const url = URL.canParse(word) ? new URL(word) : undefined
  if (url === undefined || !/^(?:ws|http)s?:$/.test(url.protocol))
    throw optionError(`${command} takes a URL that begins with ws: or wss:, as in ${example}`)
  url.protocol = url.protocol.replace('http', 'ws')
  // `ws` refuses a fragment.
  url.hash = ''
  return url
}

/** Headers of the handshake. @throws Error `ERR_OPTION`: an invalid name or value, or two tokens. */
export function headersOf(lines: readonly string[], token: string | undefined): Record<string, string> {
  const entries = lines.map(line => {
    const at = line.indexOf('=')
    if (at < 1) throw optionError('--header takes NAME=VALUE, received a value without a name and "="')
    return checked('--header', line.slice(0, at), line.slice(at + 1))
  })
  if (token === undefined) return Object.fromEntries(entries)
  if (entries.some(([name]) => name.toLowerCase() === 'authorization'))
    throw optionError('--token and --header Authorization exclude each other')
  return Object.fromEntries([...entries, checked('--token', 'Authorization', `Bearer ${token}`)])
}

/** @throws Error `ERR_OPTION`: a subprotocol that `ws` does not offer. */
export function checkedProtocols(protocols: readonly string[]): readonly string[] {
  const wrong = protocols.find((name, i) => !TOKEN.test(name) || protocols.indexOf(name) !== i)
  if (wrong === undefined) return protocols
  throw optionError(`--protocol takes different names without spaces and commas, received ${JSON.stringify(wrong)}`)
}

function checked(option: string, name: string, value: string): [string, string] {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
  } catch {
    throw optionError(`${option} takes characters that a header can have, received others`)
  }
  return [name, value]
}

/** Why a socket failed, or could not connect. */
export function failureOf(error: Error & { readonly code?: string; readonly errors?: readonly Error[] }): Failure {
  const { code = '', errors } = error
  if (code === TOO_LARGE) return { message: 'a message is larger than --max-payload', isFinal: true }
  if (error.message === CANCELED) return { message: 'no answer in time', isFinal: false }
  return {
    // Node tries several addresses, and joins their errors to one without a message.
    message: shown(error.message || errors?.map(({ message }) => message).join(', ') || code),
    isFinal: TLS_CODE.test(code) || (code === '' && WRONG_ANSWER.test(error.message)),
  }
}

/** Why the server refused the handshake: its status at once, then with the first line of its answer. */
export async function* refusalOf(response: IncomingMessage): AsyncGenerator<Failure> {
  const { statusCode = 0, headers } = response
  const isFinal = statusCode < 500 && !TEMPORARY.includes(statusCode)
  const message = `HTTP status ${statusCode}`
  yield { message, isFinal }
  const isText = /^text\/plain\b/.test(headers['content-type'] ?? '')
  const line = isText ? await firstLineOf(response) : shown(headers.location ?? '')
  if (line !== '') yield { message: `${message}: ${line}`, isFinal }
}

async function firstLineOf(response: IncomingMessage): Promise<string> {
  let text = ''
  try {
    for await (const chunk of response.setEncoding('utf8')) {
      text += chunk
      if (text.length > MAX_SHOWN || text.includes('\n')) break
    }
  } catch {
    // The server has closed the connection.
  }
  return shown(text.split('\n', 1)[0]!.trim())
}

/** Whether a first message is a reply to `connect`, and not the command itself, which some servers send back. */
export function isTopicsReply(text: string): boolean {
  try {
    const { connect, error } = JSON.parse(text.split('\n', 1)[0]!)
    return typeof connect?.client === 'string' || typeof error?.code === 'number'
  } catch {
    return false
  }
}

/** A text of the server in a line for a terminal. */
export function shown(text: string): string {
  return text.slice(0, MAX_SHOWN).replace(/\p{Cc}/gu, ' ')
}
