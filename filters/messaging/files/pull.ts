import { createHash } from 'node:crypto'
import { addAbortSignal } from 'node:stream'
import { FileError } from 'filtered-websocket/kit'
import { FILE, MAX_PART } from '../../../protocols/clever-show/frame.ts'
import type { PulledPart } from '../../../protocols/clever-show/part.ts'
import type { Session } from '../rpc/session.ts'
import { Incoming } from '../wire/incoming.ts'
import { failedBy } from './failed.ts'
import type { TransferOptions } from './push.ts'
import { abandon, type Content, gather, receive, sizeOf } from './receive.ts'
import { within, withinHash } from './timeouts.ts'
import { partName } from './uploads.ts'
import { type Store, Writing } from './writing.ts'

/** Parts that are asked for at a time. */
const WINDOW = 4
/** After these nobody goes on with what is there. */
const USELESS = ['corrupt', 'changed', 'full']

/** A file that is got, and from where. */
export interface Pull extends TransferOptions {
  readonly session: Session
  readonly store: Store
  /** Where the client has it. */
  readonly remote: string
  /** Bytes of one that is not saved. */
  readonly maxWhole: number
}

/** The whole file, in memory. @throws CallFailed */
export async function pullBytes(pull: Pull): Promise<Buffer> {
  const { session, maxWhole, onProgress } = pull
  if (!session.knowsParts) return gather(await wholeOf(pull), maxWhole)
  const { content, part } = await partAt(pull, 0)
  const { size, version } = part
  if (size > maxWhole)
    throw new FileError('too-large', `a file that is not saved has at most ${maxWhole} bytes, this has ${size}`)
  const pieces = [content]
  const hash = createHash('sha256').update(content)
  onProgress?.({ bytes: content.length, size })
  await follow(pull, content.length, part, async bytes => {
    pieces.push(bytes)
    hash.update(bytes)
  })
  const [found, wanted] = [hash.digest('hex'), await hashOf(pull, size, version)]
  if (found !== wanted) throw new FileError('corrupt', `the file has the sha256 ${found}, not ${wanted}`)
  return Buffer.concat(pieces)
}

/** Saves the whole file under `local`. @throws CallFailed, what the system says */
export async function pullFile(pull: Pull, local: string): Promise<void> {
  const writing = pull.session.knowsParts ? await inParts(pull, local) : await inOne(pull, local)
  try {
    await writing.place()
  } finally {
    await writing.end(false)
  }
}

async function inOne(pull: Pull, local: string): Promise<Writing> {
  const content = await wholeOf(pull)
  const size = sizeOf(content)
  try {
    return await receive(pull.store, { writer: {}, filepath: local }, content, bytes =>
      pull.onProgress?.({ bytes, size }),
    )
  } catch (error) {
    abandon(content)
    throw error
  }
}

async function wholeOf({ session, remote, store, signal }: Pull): Promise<Content> {
  const { content, part } = await session.request(FILE, { filepath: remote }, within(store.idleTimeout, signal))
  if (part !== undefined) {
    abandon(content!)
    throw new FileError('failed', `client ${session.client.id} has sent a part for the whole of a file`)
  }
  if (signal !== undefined && content instanceof Incoming) addAbortSignal(signal, content)
  return content!
}

/** What an earlier try has got of it is not asked for again. */
async function inParts(pull: Pull, local: string): Promise<Writing> {
  const { session, store, remote, onProgress } = pull
  const { content, part } = await partAt(pull, 0)
  const { size, version } = part
  const peer = session.client.state.messaging?.id ?? ''
  const name = partName('get', [peer, remote, local, size, version])
  const writing = await Writing.begin(store, { writer: {}, filepath: local, size, part: name })
  try {
    const { file } = writing
    if (file.size < content.length) await file.append(content.subarray(file.size))
    onProgress?.({ bytes: file.size, size })
    await follow(pull, file.size, part, bytes => file.append(bytes))
    await writing.verify(await hashOf(pull, size, version), pull.signal)
    return writing
  } catch (error) {
    await writing.end(!USELESS.includes(failedBy(error).code))
    throw error
  }
}

/** Gets the rest, several parts at a time, and hands them on in their order. */
async function follow(
  pull: Pull,
  from: number,
  { size, version }: PulledPart,
  take: (bytes: Buffer) => Promise<void>,
): Promise<void> {
  const flying: ReturnType<typeof partAt>[] = []
  let next = from
  try {
    for (let offset = from; offset < size; ) {
      for (; next < size && flying.length < WINDOW; next += MAX_PART) {
        const asked = partAt(pull, next, version)
        asked.catch(() => {})
        flying.push(asked)
      }
      const { content, part } = (await flying.shift())!
      if (part.version !== version || part.size !== size)
        throw new FileError('changed', 'the file has changed meanwhile')
      await take(content)
      offset += content.length
      pull.onProgress?.({ bytes: offset, size })
    }
  } finally {
    await Promise.allSettled(flying)
  }
}

async function partAt({ session, store, remote, signal }: Pull, offset: number, version?: string) {
  const kwargs = { filepath: remote, offset, length: MAX_PART, ...(version !== undefined && { version }) }
  const { content, part } = await session.request(FILE, kwargs, within(store.idleTimeout, signal))
  const isIt = part?.offset === offset && sizeOf(content!) === Math.min(MAX_PART, part.size - offset)
  if (!isIt || content instanceof Incoming) {
    abandon(content!)
    throw new FileError('offset', `client ${session.client.id} has sent something else than the part at ${offset}`)
  }
  return { content: content!, part }
}

async function hashOf({ session, store, remote, signal }: Pull, size: number, version: string): Promise<string> {
  const options = withinHash(store.idleTimeout, size, signal)
  const { sha256 } = Object(await session.call('fws.hash', [], { filepath: remote, version }, options))
  return String(sha256)
}
