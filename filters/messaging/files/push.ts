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
import { drainTimeout, hashTimeout } from './timeouts.ts'

/** Parts in flight. */
const WINDOW = 4
/** Attempts without progress. */
const MAX_ATTEMPTS = 3

/** Options of a file transfer. */
export interface TransferOptions {
  /** Ends the transfer on abort, with its reason. */
  readonly signal?: AbortSignal
  /** Called with the bytes that have arrived, and the bytes of the file. */
  readonly onProgress?: (progress: { readonly bytes: number; readonly size: number }) => void
}

/** A file that is sent to a client. */
export interface Push extends TransferOptions {
  readonly session: Session
  readonly file: StoredFile
  /** Path on the client. */
  readonly filepath: string
  readonly hashes: FileHashes
  /** Milliseconds for each answer. */
  readonly timeout: number
}

/** Sends a file in one frame, as clever-show does, which does not answer. @throws (rejects) FileError; errors of the system */
export async function pushWhole({ session, file, filepath, timeout, onProgress }: Push, max: number): Promise<void> {
  const { size } = file
  if (size > max) throw new FileError('too-large', `a file in one frame has at most ${max} bytes, this has ${size}`)
  const content = await file.read(0, size)
  await file.checkUnchanged()
  session.send({ type: 'message', name: FILE, args: [], kwargs: { filepath }, content })
  await drained(session, drainTimeout(timeout, size))
  if (session.client.signal.aborted)
    throw new FileError('gone', `client ${session.client.id} has disconnected before it received the file`)
  onProgress?.({ bytes: size, size })
}

/** Sends a file in parts, and continues where an earlier attempt ended. @throws (rejects) CallFailed; FileError; the signal's reason */
export async function pushParts(push: Push): Promise<void> {
  const { session, file, filepath, signal, timeout, hashes } = push
  const { size } = file
  const key = createHash('sha256')
    .update(JSON.stringify([filepath, size, file.version]))
    .digest('base64url')
  const whole = hashes.of(file, signal)
  whole.catch(() => {})
  for (let attempts = MAX_ATTEMPTS, before = -1; ; ) {
    const answer = Object(await session.call('fws.part', [], { filepath, size, key }, { timeout, signal }))
    const offset = Number(answer.offset)
    if (!(Number.isSafeInteger(offset) && offset >= 0 && offset <= size))
      throw new FileError('offset', `client ${session.client.id} answers with an impossible offset`)
    attempts = offset > before ? MAX_ATTEMPTS : attempts - 1
    before = offset
    try {
      return await sendFrom(offset, push, key, whole)
    } catch (error) {
      if (!(error instanceof CallFailed && error.code === 'offset' && attempts > 0)) throw error
    }
  }
}

async function sendFrom(from: number, push: Push, key: string, whole: Promise<string>): Promise<void> {
  const { session, file, filepath, timeout, signal, onProgress } = push
  const { size } = file
  const inFlight: Promise<void>[] = []
  try {
    let offset = from
    while (offset + MAX_PART < size) {
      if (inFlight.length >= WINDOW) await inFlight.shift()
      await sendPart(offset, MAX_PART, {}, { timeout, signal })
      offset += MAX_PART
    }
    while (inFlight.length > 0) await inFlight.shift()
    await file.checkUnchanged()
    await sendPart(offset, size - offset, { sha256: await whole }, { timeout: hashTimeout(timeout, size), signal })
    await inFlight.shift()
  } finally {
    await Promise.allSettled(inFlight)
  }

  async function sendPart(offset: number, length: number, last: { sha256?: string }, options: CallOptions) {
    const content = await file.read(offset, length)
    await drained(session, timeout)
    signal?.throwIfAborted()
    const part = { key, offset, size, ...last }
    const answer = session
      .push({ filepath }, content, part, options)
      .then(() => onProgress?.({ bytes: offset + content.length, size }))
    answer.catch(() => {})
    inFlight.push(answer)
  }
}

/** @throws (rejects) FileError `timeout` when the client does not receive the sent bytes within `ms` milliseconds. */
async function drained({ client }: Session, ms: number): Promise<void> {
  await withDeadline(client.drained(), ms, 'drained').catch(() => {
    throw new FileError('timeout', `client ${client.id} has received nothing for ${ms / 1000} seconds`)
  })
}
