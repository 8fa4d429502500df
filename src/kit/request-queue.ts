import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { respond } from './respond.ts'
import { SerialQueues } from './serial-queue.ts'

/** Answers a request; may reject. */
export type Answer = (req: IncomingMessage, res: ServerResponse) => Promise<void>

/**
 * Answers GET and HEAD requests, those of one connection one after the other: of many pipelined requests only one has
 * its file open.
 *
 * @example
 * const queue = new RequestQueue(answer, error => log.error({ err: error }, 'page was not sent'))
 * return { request: (req, res) => queue.add(req, res) }
 */
export class RequestQueue {
  readonly #answer: Answer
  readonly #report: (error: unknown) => void
  readonly #queues = new SerialQueues<Socket>()

  /** @param report - is called with the error of an answer, after which the client gets 500, or the end of the connection. */
  constructor(answer: Answer, report: (error: unknown) => void) {
    this.#answer = answer
    this.#report = report
  }

  /** Answers 405 to other methods. @returns `res`, for the request chain. */
  add(req: IncomingMessage, res: ServerResponse): ServerResponse {
    if (req.method === 'GET' || req.method === 'HEAD') {
      const closed = new Promise(resolve => res.once('close', resolve))
      void this.#queues.run(req.socket, async () => {
        await this.#run(req, res)
        await closed
      })
    } else {
      res.setHeader('Allow', 'GET, HEAD')
      respond(res, 405, 'GET and HEAD only')
    }
    return res
  }

  async #run(req: IncomingMessage, res: ServerResponse): Promise<void> {
    try {
      // The connection may have ended meanwhile.
      if (!req.socket.destroyed) await this.#answer(req, res)
    } catch (error) {
      this.#report(error)
      if (res.headersSent) res.destroy()
      else respond(res, 500, 'internal error')
    }
  }
}
