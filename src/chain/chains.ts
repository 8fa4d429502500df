import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Server } from '../contract/client.ts'
import { isPromise } from '../contract/deadline.ts'
import { DROP } from '../contract/drop.ts'
import { FwsError, isForbidden } from '../contract/errors.ts'
import type { ChannelEvent, Publication } from '../contract/filter.ts'
import type { HandlerCounts } from '../contract/metrics.ts'
import { isPayload, type Payload } from '../contract/payload.ts'
import type { AcceptedConnection, Peer } from '../contract/peer.ts'
import { answerWith } from '../kit/respond.ts'
import {
  Chain,
  type ChainClient,
  type ChainHost,
  type ChainKind,
  type ChainName,
  type Handler,
  type Registered,
  type Step,
} from './chain.ts'
import { type Memberships, membershipsOf } from './memberships.ts'
import { Observers } from './observers.ts'
import { Permits } from './permits.ts'
import { Retentions } from './retentions.ts'
import { type Claim, type Route, Routes } from './routes.ts'

/** All chains of one server, with the handlers of all filters. Clients and requests pass those of their route. */
export interface Chains extends Route {
  readonly accept: Chain<AcceptedConnection>
  readonly data: Chain<Buffer>
  readonly consumer: Chain<ChannelEvent>
  readonly publish: Chain<Publication>
  readonly permits: Permits
  readonly retentions: Retentions
  /** `undefined` if no filter has a `joined` or `left` handler. */
  readonly memberships: Memberships | undefined
  readonly routes: Routes
  readonly observers: Observers
}

export const CHAIN_NAMES: readonly ChainName[] = [
  'accept',
  'connect',
  'open',
  'data',
  'message',
  'disconnect',
  'consumer',
  'request',
  'publish',
]

const ofClient = {
  subject: (client: ChainClient) => client,
  id: (client: ChainClient) => client.id,
}

const accept: ChainKind<AcceptedConnection> = {
  name: 'accept',
  drops: true,
  id: ({ remote }) => remote,
  isClientless: true,
  takes: 'nothing, or DROP, and no promise',
  endsOnError: true,
}
const connect: ChainKind<ChainClient> = {
  ...ofClient,
  name: 'connect',
  drops: true,
  takes: 'nothing, or what client.refuse() returns',
  endsOnError: true,
}
const open: ChainKind<ChainClient> = { ...ofClient, name: 'open', drops: false, takes: 'nothing', endsOnError: true }
const disconnect: ChainKind<ChainClient> = {
  name: 'disconnect',
  drops: false,
  id: client => client.id,
  takes: 'nothing',
  endsOnError: false,
}
const message: ChainKind<Payload> = {
  name: 'message',
  drops: true,
  subject: (_, client) => client as ChainClient,
  id: (_, client) => (client as ChainClient).id,
  payload: payload => payload,
  rewrite: (_, verdict) => (isPayload(verdict) ? verdict : undefined),
  takes: 'nothing, a string, a Buffer, or DROP',
  endsOnError: true,
  gated: true,
}
const data: ChainKind<Buffer> = {
  name: 'data',
  drops: true,
  id: (_, peer) => (peer as Peer).id,
  isClientless: true,
  payload: chunk => chunk,
  rewrite: (_, verdict) => (Buffer.isBuffer(verdict) ? verdict : undefined),
  takes: 'nothing, a Buffer, or DROP',
  endsOnError: true,
}
const consumer: ChainKind<ChannelEvent> = {
  name: 'consumer',
  drops: true,
  id: event => `channel ${event.channel}`,
  isClientless: true,
  payload: event => event.payload,
  rewrite: (event, verdict) => (isPayload(verdict) ? { ...event, payload: verdict } : undefined),
  takes: 'nothing, a string, a Buffer, or DROP',
  endsOnError: false,
}
const request: ChainKind<IncomingMessage> = {
  name: 'request',
  drops: true,
  id: req => req.socket.remoteAddress,
  isClientless: true,
  takes: 'nothing, or DROP when it has answered',
  endsOnError: true,
}

const publish: ChainKind<Publication> = {
  name: 'publish',
  drops: true,
  id: (_, from) => (from as ChainClient | undefined)?.id,
  payload: publication => publication.payload,
  rewrite: (publication, verdict) => (isPayload(verdict) ? { ...publication, payload: verdict } : undefined),
  takes: 'nothing, a string, a Buffer, or DROP',
  endsOnError: true,
}

/** Appends the filters' handlers to their chains, in order. */
export function compileChains(filters: readonly Registered[], host: ChainHost, claims: readonly Claim[] = []): Chains {
  const observers = new Observers((error, { chain, client: id }) =>
    host.report(error, { chain: chain as ChainName, filter: 'observer', id }),
  )
  const chain = <V>(kind: ChainKind<V>, wrap?: (handler: Handler) => Handler) =>
    new Chain(kind, stepsOf(kind.name, filters, wrap), host, observers)
  const all: Route = {
    connect: chain(connect),
    open: chain(open),
    message: chain(message),
    disconnect: chain(disconnect),
    request: chain(request, endsWhenAnswered),
  }
  return {
    ...all,
    accept: chain(accept, synchronous),
    data: chain(data),
    consumer: chain(consumer),
    publish: chain(publish),
    permits: new Permits(filters, host),
    retentions: new Retentions(filters, host),
    memberships: membershipsOf(filters, host),
    routes: new Routes(all, claims),
    observers,
  }
}

/** The call counts of all handlers. */
export function handlersOf(chains: Chains): readonly HandlerCounts[] {
  return CHAIN_NAMES.flatMap(chain => chains[chain].steps.map(({ run: _, ...counts }) => ({ chain, ...counts })))
}

function stepsOf(
  name: ChainName,
  filters: readonly Registered[],
  wrap = (handler: Handler) => handler,
): readonly Step[] {
  return filters.flatMap(({ name: filter, handlers }, order) =>
    [handlers[name] ?? []].flat().map(handler => ({
      filter,
      order,
      run: wrap(handler as Handler),
      calls: 0,
      rewritten: 0,
      dropped: 0,
      failed: 0,
    })),
  )
}

/** The socket is read in the same turn: a promise would come too late. */
function synchronous(handler: Handler): Handler {
  return connection => {
    const verdict = handler(connection, undefined, undefined)
    if (!isPromise(verdict)) return verdict
    // It is not awaited: its rejection must not end the process.
    verdict.then(undefined, () => {})
    throw new FwsError('ERR_VERDICT', `returned a promise; an accept handler returns ${accept.takes}`)
  }
}

/**
 * A request is answered if the handler returns `DROP` or the response, or has sent headers. One whose client lacks a permission is
 * answered with 403.
 */
function endsWhenAnswered(handler: Handler): Handler {
  const judge = (verdict: unknown, res: ServerResponse) =>
    verdict === res || (verdict === undefined && res.headersSent) ? DROP : verdict
  const refuse = (error: unknown, res: ServerResponse, server: Server) => {
    if (!isForbidden(error) || res.headersSent) throw error
    const { refusals } = server.counters
    refusals[403] = (refusals[403] ?? 0) + 1
    answerWith(res, { status: 403, reason: error.message, headers: undefined })
    return DROP
  }
  return (req, res: ServerResponse, server: Server) => {
    try {
      const verdict = handler(req, res, server)
      if (!isPromise(verdict)) return judge(verdict, res)
      return verdict.then(
        late => judge(late, res),
        error => refuse(error, res, server),
      )
    } catch (error) {
      return refuse(error, res, server)
    }
  }
}
