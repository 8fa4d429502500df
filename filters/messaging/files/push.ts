import { createHash } from 'node:crypto'
import {
  CallFailed,
  type CallOptions,
  FileError,
  type FileHashes,
  type StoredFile,
  withDeadline,
} from 'filtered-websocket/kit'
import { FILE, MAX_PART } from '../../../protocols/clever-show/frame.ts'
import type { Session } from '../rpc/session.ts'
import { drainTimeout, within, withinHash } from './timeouts.ts'

/** Parts that are on their way at a time. */
const WINDOW = 4
/** Times that a receiver may say that it has something else, without a byte between them. */
const TRIES = 3

/** How a file is sent or got. */
export interface TransferOptions {
  /** Gives up when it is aborted, with its reason. */
  readonly signal?: AbortSignal
  /** Told how many bytes have arrived, of how many. */
  readonly onProgress?: (progress: { readonly bytes: number; readonly size: number }) => void
}

/** A file that is sent, and where it comes to. */
export interface Push extends TransferOptions {
  readonly session: Session
  readonly file: StoredFile
  readonly filepath: string
  readonly hashes: FileHashes
  /** Milliseconds for each answer. */
  readonly timeout: number
}

/** Sends a file in one frame, as clever-show does; there is no answer. @throws FileError */
export async function pushWhole({ session, file, filepath, timeout, onProgress }: Push, max: number): Promise<void> {
  const { size } = file
  if (size > max)
    throw new FileError(
      'too-large',
      `a client that knows no parts gets files of at most ${max} bytes, this has ${size}`,
    )
  const content = await file.read(0, size)
  await file.checkUnchanged()
  session.send({ type: 'message', name: FILE, args: [], kwargs: { filepath }, content })
  await drained(session, drainTimeout(timeout, size))
  if (session.client.signal.aborted)
    throw new FileError('gone', `client ${session.client.id} has gone before it had the file`)
  onProgress?.({ bytes: size, size })
}

/** Sends a file in parts, and goes on where an earlier try ended. @throws CallFailed, the signal's reason */
export async function pushParts(push: Push): Promise<void> {
  const { session, file, filepath, signal, timeout, hashes } = push
  const { size } = file
  const key = createHash('sha256')
    .update(JSON.stringify([filepath, size, file.version]))
    .digest('base64url')
  const options = within(timeout, signal)
  const whole = hashes.of(file, signal)
  whole.catch(() => {})
  for (let tries = TRIES, before = -1; ; ) {
    const said = (await session.call('fws.part', [], { filepath, size, key }, options)) as { offset?: unknown }
    const offset = Number(Object(said).offset)
    if (!(Number.isSafeInteger(offset) && offset >= 0 && offset <= size))
      throw new FileError('offset', `client ${session.client.id} has no part of a file of ${size} bytes`)
    tries = offset > before ? TRIES : tries - 1
    before = offset
    try {
      return await sendFrom(offset, push, key, whole)
    } catch (error) {
      if (!(error instanceof CallFailed && error.code === 'offset' && tries > 0)) throw error
    }
  }
}

async function sendFrom(from: number, push: Push, key: string, whole: Promise<string>): Promise<void> {
  const { session, file, filepath, timeout, signal, onProgress } = push
  const { size } = file
  const flying: Promise<void>[] = []
  const land = async () => await flying.shift()
  try {
    let offset = from
    while (offset + MAX_PART < size) {
      if (flying.length >= WINDOW) await land()
      await sendPart(offset, MAX_PART, {}, within(timeout, signal))
      offset += MAX_PART
    }
    while (flying.length > 0) await land()
    await file.checkUnchanged()
    await sendPart(offset, size - offset, { sha256: await whole }, withinHash(timeout, size, signal))
    await land()
  } finally {
    await Promise.allSettled(flying)
  }

  async function sendPart(offset: number, length: number, last: { sha256?: string }, options: CallOptions) {
    const content = await file.read(offset, length)
    await drained(session, timeout)
    signal?.throwIfAborted()
    const part = { key, offset, size, ...last }
    const answered = session
      .push({ filepath }, content, part, options)
      .then(() => onProgress?.({ bytes: offset + content.length, size }))
    answered.catch(() => {})
    flying.push(answered)
  }
}

/** @throws (rejects) FileError `timeout` when the client does not receive what was sent within `ms` milliseconds. */
async function drained({ client }: Session, ms: number): Promise<void> {
  await withDeadline(client.drained(), ms, 'drained').catch(() => {
    throw new FileError('timeout', `client ${client.id} has taken nothing for ${ms / 1000} seconds`)
  })
}
