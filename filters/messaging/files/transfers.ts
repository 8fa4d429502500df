import { createHash } from 'node:crypto'
import { addAbortSignal } from 'node:stream'
import {
  CallFailed,
  FileError,
  fileErrorOf,
  type IncomingFile,
  partName,
  type StoredFile,
  withDeadline,
} from 'filtered-websocket/kit'
import { FILE } from '../../../protocols/clever-show/frame.ts'
import type { PushedPart } from '../../../protocols/clever-show/part.ts'
import {
  partsGetter,
  sendParts,
  type TransferPeer,
  type TransferProgress,
  type Version,
} from '../../../protocols/clever-show/transfer.ts'
import type { Session } from '../rpc/session.ts'
import { ContentStream } from '../wire/content-stream.ts'
import { abandon, type Content, gather, receive, tooLarge } from './content.ts'
import { checkFrame, drainTimeout, hashTimeout, type Store } from './store.ts'

/** Attempts to send a file without progress. */
const MAX_ATTEMPTS = 3
/** Errors after which the saved part is of no use. */
const FINAL_ERRORS = ['corrupt', 'changed', 'full']

/** Options of a file transfer. */
export interface TransferOptions extends TransferProgress {
  /** Ends the transfer on abort, with its reason. */
  readonly signal?: AbortSignal
}

/** A transfer that the server begins. */
export interface Transfer extends TransferOptions {
  readonly session: Session
  readonly store: Store
  /** Path on the client. */
  readonly remote: string
}

/** Sends the file at `local`. @throws (rejects) CallFailed; FileError; LimitError; errors of the system; the signal's reason */
export async function pushFile(transfer: Transfer, local: string): Promise<void> {
  const { session, store } = transfer
  const leave = store.transfers.enter()
  const push = (file: StoredFile) => {
    if (session.supportsParts) return pushParts(transfer, file)
    if (session.acceptsFrames) return pushFrame(transfer, file)
    throw new CallFailed('none', `client ${session.client.id} uses JSON text, which carries no files`)
  }
  await store.files.withFile(local, push).finally(leave)
}

/** In one frame, as clever-show does, which does not answer. */
async function pushFrame({ session, store, remote, onProgress }: Transfer, file: StoredFile): Promise<void> {
  const { size } = file
  checkFrame(store, size)
  const content = await file.readUnchanged(0, size)
  session.send({ type: 'message', name: FILE, args: [], kwargs: { filepath: remote }, content })
  await drained(session, drainTimeout(store, size))
  if (session.client.signal.aborted)
    throw new FileError('gone', `client ${session.client.id} has disconnected before it received the file`)
  onProgress?.({ bytes: size, size })
}

/** Continues where an earlier attempt ended. */
async function pushParts(transfer: Transfer, file: StoredFile): Promise<void> {
  const { session, store, remote, signal, onProgress } = transfer
  const { size, version } = file
  const sha256 = store.hashes.of(file, signal)
  sha256.catch(() => {})
  let [furthest, failures] = [0, 0]
  const outgoing = {
    filepath: remote,
    size,
    key: createHash('sha256')
      .update(JSON.stringify([remote, size, version]))
      .digest('base64url'),
    async read(start: number, end: number) {
      const bytes = await file.read(start, end - start)
      await drained(session, store.idleTimeout)
      signal?.throwIfAborted()
      return bytes
    },
    async sha256() {
      await file.checkUnchanged()
      return sha256
    },
    onProgress(progress: { readonly bytes: number; readonly size: number }) {
      if (progress.bytes > furthest) [furthest, failures] = [progress.bytes, 0]
      onProgress?.(progress)
    },
  }
  for (;;) {
    try {
      return await sendParts(peerOf(transfer), outgoing)
    } catch (error) {
      if (!(error instanceof CallFailed && error.code === 'offset' && ++failures < MAX_ATTEMPTS)) throw error
    }
  }
}

/** The content of a file. @throws (rejects) CallFailed; FileError; the signal's reason */
export async function pullBytes(transfer: Transfer): Promise<Buffer> {
  const { session, store, remote } = transfer
  if (!session.supportsParts) return gather(await requestFrame(transfer), store.maxWhole)
  const pieces: Buffer[] = []
  const hash = createHash('sha256')
  const target = {
    size: 0,
    begin({ size }: Version) {
      if (size > store.maxWhole) throw tooLarge(size, store.maxWhole)
    },
    write(bytes: Buffer) {
      pieces.push(bytes)
      hash.update(bytes)
      target.size += bytes.length
    },
    sha256: () => hash.digest('hex'),
  }
  await partsGetter(peerOf(transfer), remote, target, transfer)()
  return Buffer.concat(pieces)
}

/** Saves a file under `local`. @throws (rejects) CallFailed; FileError; errors of the system; the signal's reason */
export async function pullFile(transfer: Transfer, local: string): Promise<void> {
  const { session, store, remote, signal } = transfer
  if (!session.supportsParts) return pullFrame(transfer, local)
  let file: IncomingFile | undefined
  let isKept = true
  const target = {
    get size() {
      return file?.size ?? 0
    },
    /** Continues the part of an earlier attempt. */
    async begin({ size, version }: Version) {
      const part = partName('get', [session.client.state.messaging?.id ?? '', remote, local, size, version])
      file = await store.incoming.begin({ filepath: local, size, part, writer: {} })
    },
    write: (bytes: Buffer) => file!.append(bytes),
    sha256: () => file!.sha256(signal),
  }
  try {
    await partsGetter(peerOf(transfer), remote, target, transfer)()
    await file!.commit()
  } catch (error) {
    isKept = !FINAL_ERRORS.includes(failedBy(error).code)
    throw error
  } finally {
    await file?.end(isKept)
  }
}

async function pullFrame(transfer: Transfer, local: string): Promise<void> {
  const content = await requestFrame(transfer)
  try {
    const file = await receive(transfer.store.incoming, { filepath: local, writer: {} }, content, transfer)
    await file.commit().finally(() => file.end(false))
  } catch (error) {
    abandon(content)
    throw error
  }
}

async function requestFrame({ session, remote, store, signal }: Transfer): Promise<Content> {
  const { content, part } = await session.request(FILE, { filepath: remote }, { timeout: store.idleTimeout, signal })
  if (part !== undefined) {
    abandon(content!)
    throw new FileError('failed', `client ${session.client.id} has sent a part instead of the file`)
  }
  if (signal !== undefined && content instanceof ContentStream) addAbortSignal(signal, content)
  return content!
}

/** A client that supports parts. */
function peerOf({ session, store, signal }: Transfer): TransferPeer<Buffer> {
  const { idleTimeout: timeout } = store
  let pulledSize = 0
  return {
    Failed: CallFailed,
    call: (name, kwargs) => session.call(name, [], kwargs, { timeout: hashTimeout(store, pulledSize), signal }),
    push({ filepath, ...fields }, bytes: Buffer) {
      const part = fields as PushedPart
      const ms = part.sha256 === undefined ? timeout : hashTimeout(store, part.size)
      return session.push({ filepath }, bytes, part, { timeout: ms, signal })
    },
    async pull(kwargs) {
      const { content, part } = await session.request(FILE, kwargs, { timeout, signal })
      if (part === undefined || content instanceof ContentStream) {
        abandon(content!)
        throw new FileError('offset', `client ${session.client.id} has not sent the part at ${kwargs.offset}`)
      }
      pulledSize = part.size
      return { bytes: content!, part }
    },
  }
}

/** @throws (rejects) FileError `timeout` when the client does not receive the sent bytes within `ms` milliseconds. */
async function drained({ client }: Session, ms: number): Promise<void> {
  await withDeadline(client.drained(), ms, 'drained').catch(() => {
    throw new FileError('timeout', `client ${client.id} has received nothing for ${ms / 1000} seconds`)
  })
}

/** The error of a file transfer without paths, as a peer may get it. `cause` is the original error, for the log. */
export function failedBy(error: unknown): CallFailed {
  if (error instanceof CallFailed) return error
  const { code, message, cause } = fileErrorOf(error)
  return Object.assign(new CallFailed(code, message), { cause })
}
