import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { Host } from 'filtered-websocket'

const URL_PATH = '/wslink.js'

/** Serves the installed official JavaScript client to the page. */
export const setup = ({ log }: Host) => {
  const client = installed()
  if (client === undefined) log.warn('the official client is not installed: run npm install wslink, and restart')
  return {
    request(req: IncomingMessage, res: ServerResponse): ServerResponse | undefined {
      // Without the client `pages` responds with 404.
      if (client === undefined || req.url !== URL_PATH) return undefined
      res.setHeader('X-Content-Type-Options', 'nosniff')
      return res.setHeader('Content-Type', 'text/javascript; charset=utf-8').end(client)
    },
  }
}

function installed(): Buffer | undefined {
  try {
    return readFileSync(createRequire(import.meta.url).resolve('wslink'))
  } catch {
    return undefined
  }
}
