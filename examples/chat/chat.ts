import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Client, Drop, Payload } from 'filtered-websocket'

const NAME = /^[\p{L}\p{N}_-]{1,20}$/u
/** UTF-16 units, as an input's `maxlength` counts. */
const MAX_TEXT = 500

/**
 * One room and its page. A client sends strings: messages, and commands, which start with `/`. It gets JSON: messages as
 * `{from, text, at}`, notices as `{text, at}`, with `you` after a change of its name and `here` after a change of the number of
 * clients, and `{error, message}` for a string that is refused. `at` is an ISO 8601 time.
 */
export const setup = () => {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8')
  const page = read('./page.html').replace('/* theme.css */', () => read('../theme/theme.css'))
  const headers = headersFor(page)
  const names = new Map<Client, string>()
  const taken = new Set<string>()
  let guests = 0

  function rename(client: Client, name: string): void {
    taken.delete(names.get(client)?.toLowerCase() ?? '')
    taken.add(name.toLowerCase())
    names.set(client, name)
  }

  function nick(client: Client, wanted: string): Drop | undefined {
    if (!NAME.test(wanted))
      return refuse(client, 'invalid name', `a name is 1 to 20 letters, digits, _ or -, received "${brief(wanted)}"`)
    if (taken.has(wanted.toLowerCase()))
      return refuse(client, 'invalid name', `${wanted} is taken; choose another name`)
    const before = names.get(client)
    rename(client, wanted)
    client.send(encode({ you: wanted, text: `you are ${wanted} now` }))
    client.server.broadcast(encode({ text: `${before} is ${wanted} now` }), { except: client })
    return undefined
  }

  function run(client: Client, line: string): Drop | undefined {
    const [, command, argument] = /^(\S+)\s*(.*)$/s.exec(line)!
    if (command!.toLowerCase() === '/nick') return nick(client, argument!)
    return refuse(client, 'unknown command', `unknown command ${brief(command!)}; /nick NAME changes your name`)
  }

  return {
    request(req: IncomingMessage, res: ServerResponse) {
      if (req.method === 'GET' && req.url?.split('?')[0] === '/') return res.writeHead(200, headers).end(page)
    },

    open(client: Client) {
      do guests++
      while (taken.has(`guest-${guests}`))
      const name = `guest-${guests}`
      rename(client, name)
      client.send(encode({ you: name, here: names.size, text: `you are ${name}; /nick NAME to change that` }))
      client.server.broadcast(encode({ here: names.size, text: `${name} joined` }), { except: client })
    },

    message(payload: Payload, client: Client) {
      if (typeof payload !== 'string') return client.drop('binary')
      const text = payload.trim()
      if (text === '') return client.drop('empty')
      if (text.length > MAX_TEXT)
        return refuse(client, 'too long', `at most ${MAX_TEXT} characters, received ${text.length}`)
      if (text.startsWith('/')) return run(client, text)
      // Also to the sender, so that all clients see the same order.
      client.server.broadcast(encode({ from: names.get(client), text }))
    },

    disconnect(client: Client) {
      const name = names.get(client)
      // The open handler may not have run.
      if (name === undefined) return
      names.delete(client)
      taken.delete(name.toLowerCase())
      client.server.broadcast(encode({ here: names.size, text: `${name} left` }))
    },
  }
}

function encode(message: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ ...message, at: new Date().toISOString() })
}

/** A received string as an error shows it. */
function brief(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}

function refuse(client: Client, error: string, message: string): Drop {
  client.sendJson({ error, message })
  return client.drop(error)
}

/** The Content-Security-Policy allows only the style and the script of the page, by their hashes. */
function headersFor(page: string): Record<string, string | number> {
  const hash = (tag: string) => {
    const body = page.split(`<${tag}>`)[1]!.split(`</${tag}>`)[0]!
    return `'sha256-${createHash('sha256').update(body).digest('base64')}'`
  }
  return {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Length': Buffer.byteLength(page),
    'Content-Security-Policy': [
      "default-src 'none'",
      `script-src ${hash('script')}`,
      `style-src ${hash('style')}`,
      "connect-src 'self'",
      'img-src data:',
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
    ].join('; '),
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-cache',
  }
}
