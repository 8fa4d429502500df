import {
  type Awaitable,
  type Client,
  DROP,
  type Position,
  PRESENCE,
  type ReadRange,
  type Server,
  type StreamEntry,
  type StreamPage,
} from 'filtered-websocket'
import { readJson } from 'filtered-websocket/kit'
import { publicationsOf } from './codec.ts'
import { CommandError } from './command-error.ts'

/** The content of a command, not checked. */
export type Request = Readonly<Record<string, unknown>>

/** A procedure of `rpc`. Its result is sent as JSON, `undefined` as `null`. */
export type Procedure = (data: unknown, client: Client) => Awaitable<unknown>

export interface CommandOptions {
  /** Whether clients may publish; the permits decide about each channel. */
  readonly mayPublish: boolean
  /** Procedures of `rpc` by name. */
  readonly procedures: ReadonlyMap<string, Procedure>
}

/** A command of a client. @returns the reply, as JSON. @throws CommandError, or an error of the core. */
export type Command = (client: Client, request: Request) => Awaitable<string>

/** Publications of one reply. */
const MAX_HISTORY = 300
const MAX_HISTORY_BYTES = 1_048_576
/** UTF-16 code units of the name of a channel. */
const MAX_CHANNEL = 255

/** The commands that do not change the state of a connection, by method. */
export function commandsOf({ mayPublish, procedures }: CommandOptions): Readonly<Record<string, Command>> {
  return {
    async publish(client, request) {
      const channel = channelIn(request)
      const { data } = request
      if (data === undefined) throw new CommandError(107)
      if (!mayPublish) throw new CommandError(103)
      const position = await client.publish(channel, JSON.stringify(data))
      if (position === DROP) throw new CommandError(103)
      // Official clients ignore the position.
      return position === undefined ? '{}' : JSON.stringify(position)
    },

    async history(client, request) {
      const channel = channelIn(request, true)
      if (!client.may('join', channel)) throw new CommandError(103)
      return historyOf(client.server, channel, request)
    },

    async rpc(client, { method = '', data }) {
      const run = procedures.get(method as string)
      if (run === undefined) throw new CommandError(procedures.size === 0 ? 108 : 104)
      return `{"data":${JSON.stringify((await run(data, client)) ?? null) ?? 'null'}}`
    },
  }
}

/** One command. @param maxLength - characters. @returns `undefined` unless it is a JSON object. */
export function parseCommand(text: string, maxLength?: number): Request | undefined {
  try {
    const value = readJson(text, maxLength === undefined ? {} : { maxLength })
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Request) : undefined
  } catch {
    return undefined
  }
}

/** The channel of a command. @param orPresence - accept `@presence/TOPIC`. @throws CommandError */
export function channelIn({ channel }: Request, orPresence = false): string {
  if (typeof channel !== 'string' || channel === '') throw new CommandError(107)
  if (channel.length > MAX_CHANNEL) throw new CommandError(106)
  // These topics belong to filters.
  if (channel.startsWith('@') && !(orPresence && channel.startsWith(PRESENCE))) throw new CommandError(103)
  return channel
}

/** A position in a command: an absent offset is 0, an absent epoch any. @throws CommandError */
export function positionIn(given: unknown): Position {
  if (typeof given !== 'object' || given === null) throw new CommandError(107)
  const { offset = 0, epoch = '' } = given as Request
  if (!Number.isSafeInteger(offset) || (offset as number) < 0 || typeof epoch !== 'string') throw new CommandError(107)
  return { offset: offset as number, epoch }
}

/** The publications of a channel. @throws (rejects) CommandError, or an error of the core. */
export async function historyOf(
  server: Server,
  channel: string,
  { limit = 0, since, reverse }: Request,
): Promise<string> {
  if (!Number.isSafeInteger(limit) || (limit as number) < -1) throw new CommandError(107)
  const count = limit === -1 ? MAX_HISTORY : Math.min(limit as number, MAX_HISTORY)
  const from = since === undefined || since === null ? undefined : positionIn(since)
  const isReversed = reverse === true
  const isSince = from !== undefined && count > 0
  const bounds = { entries: count, bytes: MAX_HISTORY_BYTES }
  const read = (range: ReadRange) => server.read(channel, range)
  // Only the positions, if the publications are read since one of them.
  let page = await read({ from: isReversed ? 'newest' : 'oldest', ...(isSince ? { entries: 0, bytes: 0 } : bounds) })
  if (isSince) {
    const since = from.epoch === '' ? { ...from, epoch: page.top.epoch } : from
    page = await (isReversed ? readBefore(read, since, page.floor.offset, count) : read({ after: since, ...bounds }))
    if (page.lost !== undefined) throw new CommandError(112)
  }
  const { epoch, offset } = page.top
  return `{"publications":[${listed(page.entries, isReversed, from?.offset)}],"epoch":"${epoch}","offset":${offset}}`
}

/** The entries next to a position: fewer, until all up to there fit into the bytes of a page. */
async function readBefore(
  read: (range: ReadRange) => Promise<StreamPage>,
  { epoch, offset: before }: Position,
  floor: number,
  count: number,
): Promise<StreamPage> {
  for (let entries = count; ; entries = Math.ceil(entries / 2)) {
    const after = { epoch, offset: Math.max(floor, before - 1 - entries) }
    const page = await read({ after, entries, bytes: MAX_HISTORY_BYTES })
    const last = page.entries.at(-1)
    if (entries === 1 || last === undefined || last.offset >= Math.min(before - 1, page.top.offset)) return page
  }
}

/** @param before - if reversed, only entries before this offset. */
function listed(entries: readonly StreamEntry[], isReversed: boolean, before = Number.POSITIVE_INFINITY): string {
  const wanted = isReversed ? entries.filter(({ offset }) => offset < before).reverse() : entries
  return publicationsOf(wanted)
}
