import type { IncomingMessage } from 'node:http'
import type { Admission, Client } from '../contract/client.ts'
import { FwsError, shown } from '../contract/errors.ts'
import type { Refusal } from '../contract/refusal.ts'
import { frame as anyFrame } from '../fanout/frame.ts'
import { type Arrivals, GONE } from './arrivals.ts'
import { admissionProblem } from './checks.ts'
import type { PendingRequest } from './pending-requests.ts'

/** Makes clients of plain requests: `server.admit`. */
export class Admissions {
  readonly #arrivals: Arrivals
  readonly #find: (req: IncomingMessage) => PendingRequest | undefined

  /** @param find - finds a request of the listener. */
  constructor(arrivals: Arrivals, find: (req: IncomingMessage) => PendingRequest | undefined) {
    this.#arrivals = arrivals
    this.#find = find
  }

  async admit(req: IncomingMessage, as: Admission): Promise<Client | Refusal> {
    if (as?.for !== 'request' && (as?.for !== 'stream' || typeof as.frame !== 'function'))
      throw new FwsError(
        'ERR_STATE',
        `admit() takes { for: 'request' } or { for: 'stream', frame }, received ${shown(as)}`,
      )
    const request = this.#find(req)
    if (request === undefined)
      throw new FwsError('ERR_STATE', 'admit() takes a request that came to the port of this server')
    if (request.isOver) return GONE
    const arrivals = this.#arrivals
    const refuse = (refused: Refusal) => {
      if (refused !== GONE) arrivals.countRefusal(refused, arrivals.remoteOf(req), 'request')
      return refused
    }
    const problem = arrivals.problemOf(() => admissionProblem(req, arrivals.checks))
    if (problem !== undefined) return refuse(problem)
    // The client of a request has no frames: any function does.
    const client = arrivals.create(req, as.for, as.for === 'stream' ? as.frame : anyFrame)
    return new Promise(resolve => {
      arrivals.run(
        client,
        handler => request.onEnd(handler),
        refused => {
          if (refused !== undefined) return resolve(refuse(refused))
          // In this turn, so that the client is always found.
          client.accept()
          request.onEnd(() => {
            if (client.isAccepted) client.abandoned()
          })
          resolve(client)
        },
      )
    })
  }
}
