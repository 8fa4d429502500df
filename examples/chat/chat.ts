import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Client, Payload } from 'filtered-websocket'

const NAME = /^[\p{L}\p{N}_-]{1,20}$/u
/** UTF-16 units, as an input's `maxlength` counts. */
const MAX_TEXT = 500

/**
 * One room and its page. A client sends strings: messages, and `/nick NAME`. It gets JSON: messages as `{from, text}`, and
 * notices as `{text}`, with `you` after a change of its name and `here` after a change of the number of clients.
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

  function nick(client: Client, wanted: string): void {
    const problem = !NAME.test(wanted)
      ? 'a name is 1 to 20 letters, digits, _ or -'
      : taken.has(wanted.toLowerCase())
        ? `${wanted} is taken`
        : undefined
    if (problem === undefined) {
      const before = names.get(client)
      rename(client, wanted)
      send(client, { you: wanted, text: `you are ${wanted} now` })
      client.server.broadcast(JSON.stringify({ text: `${before} is ${wanted} now` }), { except: client })
    } else {
      send(client, { text: problem })
    }
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
      send(client, { you: name, here: names.size, text: `you are ${name}; /nick NAME to change that` })
      client.server.broadcast(JSON.stringify({ here: names.size, text: `${name} joined` }), { except: client })
    },

    message(payload: Payload, client: Client) {
      if (typeof payload !== 'string') return client.drop('binary')
      const text = payload.trim()
      if (text === '') return client.drop('empty')
      if (text.length > MAX_TEXT) return send(client, { text: `at most ${MAX_TEXT} characters` })
      const command = /^\/nick(?:\s+(.*))?$/s.exec(text)
      if (command !== null) return nick(client, command[1] ?? '')
      // Also to the sender, so that all clients see the same order.
      client.server.broadcast(JSON.stringify({ from: names.get(client), text }))
    },

    disconnect(client: Client) {
      const name = names.get(client)
      // The open handler may not have run.
      if (name === undefined) return
      names.delete(client)
      taken.delete(name.toLowerCase())
      client.server.broadcast(JSON.stringify({ here: names.size, text: `${name} left` }))
    },
  }
}

function send(client: Client, message: Readonly<Record<string, unknown>>): void {
  client.send(JSON.stringify(message))
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
