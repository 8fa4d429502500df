import { isIP } from 'node:net'
import type { OptionValues } from 'filtered-websocket'
import { commandError, formatEndpoint, optionError, visible, withoutBrackets } from 'filtered-websocket/kit'
import type { options } from '../../health.ts'
import { SAMPLE_VERSION, type Sample } from '../sample.ts'

const TIMEOUT = 5000
/** More than a server with a thousand handlers sends. */
const MAX_LENGTH = 4_194_304
/** Characters of an answer in an error. */
const MAX_SHOWN = 200
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'its name has no address',
  EAI_AGAIN: 'its name has no address',
  ECONNRESET: 'connection reset',
  UND_ERR_SOCKET: 'connection closed',
  TimeoutError: `no answer within ${TIMEOUT / 1000} s`,
}

/**
 * The URL of `/top`.
 *
 * @param word - a URL, `HOST:PORT` or a port. Default: the options of the health port, as the server reads them.
 * @throws Error `ERR_OPTION`
 */
export function topUrl(word: string | undefined, chosen: OptionValues<typeof options>): URL {
  if (word === undefined && chosen['health-port'] === 0)
    throw optionError('--health-port is 0, any free port; name the URL that the server logs: fws-server top URL')
  const given = word ?? formatEndpoint({ host: connectable(chosen['health-host']), port: chosen['health-port'] })
  const full = /^\d+$/.test(given)
    ? `http://127.0.0.1:${given}`
    : /^[\w+.-]+:\/\//.test(given)
      ? given
      : `http://${given}`
  const url = URL.canParse(full) ? new URL(full) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
    // Not shown: it may contain a password.
    throw optionError('top takes the URL of a health port, such as http://127.0.0.1:9001, without user and password')
  url.pathname = `${url.pathname.replace(/\/$/, '')}/top`
  return url
}

/**
 * Gets a sample.
 *
 * @throws (rejects) Error `ERR_COMMAND`: one line that says why there is none. The reason of `signal`, when it is aborted.
 */
export async function readSample(url: URL, signal: AbortSignal): Promise<Sample> {
  let status: number
  let type: string
  let text: string
  try {
    const response = await fetch(url, {
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]),
    })
    status = response.status
    type = response.headers.get('content-type') ?? 'no type'
    text = await bounded(response)
  } catch (error) {
    signal.throwIfAborted()
    throw commandError(`no health port at ${url.origin}: ${reasonOf(error)}; start the server with -f health`)
  }
  const sample = status === 200 && type === 'application/json' ? parsed(text) : undefined
  if (sample?.version === SAMPLE_VERSION) return sample
  throw commandError(visible(problemOf(url.origin, status, type, text, sample)))
}

/** @throws Error `ERR_COMMAND`: a value of the answer is another one than that of a server. */
export function readable<T>({ origin }: URL, make: () => T): T {
  try {
    return make()
  } catch {
    throw commandError(`${origin} sends a sample that this fws-server cannot read`)
  }
}

function problemOf(origin: string, status: number, type: string, text: string, sample: Sample | undefined): string {
  const line = text.split('\n')[0]!.slice(0, MAX_SHOWN)
  if (sample !== undefined)
    return `${origin} sends version ${sample.version} of /top, this fws-server reads version ${SAMPLE_VERSION}`
  if (status === 404 && line.startsWith('/healthz'))
    return `${origin} is a health port of an older version, without /top; update the server`
  if (status === 403 && type.startsWith('text/plain')) return `${origin} refuses: ${line}`
  return `${origin} is not a health port: it answers with status ${status}, ${type}`
}

/** The value if it looks like a sample. */
function parsed(text: string): Sample | undefined {
  try {
    const value = JSON.parse(text)
    const isSample =
      typeof value.version === 'number' && (value.version !== SAMPLE_VERSION || Array.isArray(value.handlers))
    return isSample ? value : undefined
  } catch {
    return undefined
  }
}

async function bounded({ body }: Response): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > MAX_LENGTH) throw new Error(`its answer is longer than ${MAX_LENGTH} characters`)
  }
  return text
}

function reasonOf(error: unknown): string {
  const { name, cause = error } = error as Error
  const { code, message } = cause as NodeJS.ErrnoException
  return REASONS[code ?? ''] ?? REASONS[name] ?? visible(code ?? message)
}

/** An address to connect to: a server that is bound to all addresses answers on loopback. */
function connectable(host: string): string {
  const bare = withoutBrackets(host)
  if (bare === '0.0.0.0') return '127.0.0.1'
  return isIP(bare) === 6 && /^[0:]+$/.test(bare) ? '::1' : bare
}
