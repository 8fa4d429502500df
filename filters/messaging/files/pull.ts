import { createHash } from 'node:crypto'
import { addAbortSignal } from 'node:stream'
import { FileError } from 'filtered-websocket/kit'
import { FILE, MAX_PART } from '../../../protocols/clever-show/frame.ts'
import type { PulledPart } from '../../../protocols/clever-show/part.ts'
import type { Session } from '../rpc/session.ts'
import { ContentStream } from '../wire/content-stream.ts'
import { failedBy } from './failed.ts'
import { IncomingFile } from './incoming-file.ts'
import type { TransferOptions } from './push.ts'
import { abandon, type Content, gather, receive, sizeOf, tooLarge } from './receive.ts'
import type { Store } from './store.ts'
import { hashTimeout } from './timeouts.ts'
import { partName } from './uploads.ts'

/** Parts that are requested at a time. */
const WINDOW = 4
/** Errors after which the saved part is of no use. */
const FINAL_ERRORS = ['corrupt', 'changed', 'full']

/** A file that is requested from a client. */
export interface Pull extends TransferOptions {
  readonly session: Session
  readonly store: Store
  /** Path on the client. */
  readonly remote: string
  /** Bytes of a file that is not saved. */
  readonly maxWhole: number
}

/** The content of the file. @throws (rejects) CallFailed; FileError; the signal's reason */
export async function pullBytes(pull: Pull): Promise<Buffer> {
  const { session, maxWhole, onProgress } = pull
  if (!session.supportsParts) return gather(await wholeOf(pull), maxWhole)
  const { content, part } = await partAt(pull, 0)
  const { size, version } = part
  if (size > maxWhole) throw tooLarge(size, maxWhole)
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

/** Saves the file under `local`. @throws (rejects) CallFailed; FileError; errors of the system; the signal's reason */
export async function pullFile(pull: Pull, local: string): Promise<void> {
  const file = pull.session.supportsParts ? await inParts(pull, local) : await inOneFrame(pull, local)
  try {
    await file.commit()
  } finally {
    await file.end(false)
  }
}

async function inOneFrame(pull: Pull, local: string): Promise<IncomingFile> {
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
  const { content, part } = await session.request(FILE, { filepath: remote }, { timeout: store.idleTimeout, signal })
  if (part !== undefined) {
    abandon(content!)
    throw new FileError('failed', `client ${session.client.id} has sent a part in place of the whole file`)
  }
  if (signal !== undefined && content instanceof ContentStream) addAbortSignal(signal, content)
  return content!
}

/** Continues the part of an earlier attempt. */
async function inParts(pull: Pull, local: string): Promise<IncomingFile> {
  const { session, store, remote, onProgress } = pull
  const { content, part } = await partAt(pull, 0)
  const { size, version } = part
  const peer = session.client.state.messaging?.id ?? ''
  const name = partName('get', [peer, remote, local, size, version])
  const file = await IncomingFile.begin(store, { writer: {}, filepath: local, size, part: name })
  try {
    const { write } = file
    if (write.size < content.length) await write.append(content.subarray(write.size))
    onProgress?.({ bytes: write.size, size })
    await follow(pull, write.size, part, bytes => write.append(bytes))
    await file.verify(await hashOf(pull, size, version), pull.signal)
    return file
  } catch (error) {
    await file.end(!FINAL_ERRORS.includes(failedBy(error).code))
    throw error
  }
}

/** Requests the parts from an offset on, several at a time, and passes them on in order. */
async function follow(
  pull: Pull,
  from: number,
  { size, version }: PulledPart,
  onPart: (bytes: Buffer) => Promise<void>,
): Promise<void> {
  const inFlight: ReturnType<typeof partAt>[] = []
  let next = from
  try {
    for (let offset = from; offset < size; ) {
      for (; next < size && inFlight.length < WINDOW; next += MAX_PART) {
        const request = partAt(pull, next, version)
        request.catch(() => {})
        inFlight.push(request)
      }
      const { content, part } = (await inFlight.shift())!
      if (part.version !== version || part.size !== size)
        throw new FileError('changed', 'the file has changed meanwhile')
      await onPart(content)
      offset += content.length
      pull.onProgress?.({ bytes: offset, size })
    }
  } finally {
    await Promise.allSettled(inFlight)
  }
}

async function partAt({ session, store, remote, signal }: Pull, offset: number, version?: string) {
  const kwargs = { filepath: remote, offset, length: MAX_PART, ...(version !== undefined && { version }) }
  const { content, part } = await session.request(FILE, kwargs, { timeout: store.idleTimeout, signal })
  const isExpected = part?.offset === offset && sizeOf(content!) === Math.min(MAX_PART, part.size - offset)
  if (!isExpected || content instanceof ContentStream) {
    abandon(content!)
    throw new FileError('offset', `client ${session.client.id} has not sent the part at ${offset}`)
  }
  return { content: content!, part }
}

async function hashOf({ session, store, remote, signal }: Pull, size: number, version: string): Promise<string> {
  const options = { timeout: hashTimeout(store.idleTimeout, size), signal }
  const { sha256 } = Object(await session.call('fws.hash', [], { filepath: remote, version }, options))
  return String(sha256)
}
