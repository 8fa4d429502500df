import { isCount, MAX_PART } from './frame.ts'
import type { Kwargs, PulledPart, PushedPart } from './message.ts'

/** Parts in flight. */
const IN_FLIGHT = 4

export interface TransferProgress {
  /** Called with the number of transferred bytes, and of all bytes. */
  readonly onProgress?: ((progress: { readonly bytes: number; readonly size: number }) => void) | undefined
}

/** The path at the peer, and the part. */
export type PushedFields = { readonly filepath: string } & Partial<PushedPart>

/** The peer of a transfer. Its errors have a `code`. */
export interface TransferPeer<B extends Uint8Array> {
  /** Sends a request. Settles with the value of the response. */
  call(name: string, kwargs: Kwargs): Promise<unknown>
  /** Sends a part, or without its position a complete file. Settles when the peer has saved it. */
  push(fields: PushedFields, bytes: Uint8Array): Promise<unknown>
  /** Requests a part. Without `part`, the bytes are the complete file. */
  pull(kwargs: Kwargs): Promise<{ readonly bytes: B; readonly part?: PulledPart }>
  /** An error of this side. */
  readonly Failed: new (
    code: string,
    message: string,
  ) => Error
}

/** A file to send. */
export interface OutgoingFile extends TransferProgress {
  /** Path at the peer. */
  readonly filepath: string
  readonly size: number
  /** Identifies the upload, so that it can be continued. */
  readonly key: string
  read(start: number, end: number): Promise<Uint8Array> | Uint8Array
  /** The hash of all bytes in hexadecimal. Called when the last part was read. */
  sha256(): Promise<string> | string
}

/** State of a file at the peer. */
export interface Version {
  /** Bytes. */
  readonly size: number
  /** Changes with the file; empty when the peer has no versions. */
  readonly version: string
}

/** Gets the bytes of a file. */
export interface FileTarget<B extends Uint8Array> {
  /** Bytes that it has; 0 before `begin`. */
  readonly size: number
  /** Begins a file, or its new version, which replaces earlier bytes. It may already have some of the bytes. */
  begin(file: Version): Promise<void> | void
  write(bytes: B): unknown
  /** The hash of its bytes in hexadecimal. Called after the last write. */
  sha256(): Promise<string> | string
}

/** Sends a file in parts, and continues where an earlier attempt ended. @throws (rejects) `failed`; errors of the peer and the file */
export async function sendParts(peer: TransferPeer<Uint8Array>, file: OutgoingFile): Promise<void> {
  const { filepath, size, key, onProgress } = file
  const { offset } = Object(await peer.call('fws.part', { filepath, size, key }))
  if (!(isCount(offset) && offset <= size))
    throw new peer.Failed('failed', `expected a number of bytes up to ${size}, received ${offset}`)

  async function* parts(from: number) {
    for (let [start, end] = [from, -1]; end < size; start = end) {
      end = Math.min(start + MAX_PART, size)
      const bytes = await file.read(start, end)
      const fields = { filepath, key, offset: start, size, ...(end === size && { sha256: await file.sha256() }) }
      const sent = end
      yield () => peer.push(fields, bytes).then(() => sent)
    }
  }

  await pipeline(parts(offset), bytes => onProgress?.({ bytes, size }))
}

/**
 * Gets a file in parts and checks its hash.
 *
 * @returns runs the transfer; after an error it may run again, and continues.
 * @throws (rejects) `changed`, `offset`, `corrupt`; errors of the peer and the target
 */
export function partsGetter<B extends Uint8Array>(
  peer: TransferPeer<B>,
  filepath: string,
  target: FileTarget<B>,
  { onProgress }: TransferProgress,
): () => Promise<void> {
  let file: Version | undefined

  async function pull(offset: number, version?: string) {
    const { bytes, part } = await peer.pull({ filepath, offset, length: MAX_PART, version })
    return { bytes, ...(part ?? { offset: 0, size: bytes.length, version: '' }) }
  }

  async function accept({ bytes, offset, size, version }: Awaited<ReturnType<typeof pull>>): Promise<void> {
    if (version !== file!.version || size !== file!.size)
      throw new peer.Failed('changed', `"${filepath}" has changed meanwhile`)
    if (offset !== target.size || offset + bytes.length > size)
      throw new peer.Failed('offset', `expected the part of "${filepath}" at ${target.size}, received ${offset}`)
    await target.write(bytes)
    onProgress?.({ bytes: target.size, size })
  }

  async function* parts({ size, version }: Version) {
    for (let next = target.size; next < size; next += MAX_PART) {
      const offset = next
      yield () => pull(offset, version)
    }
  }

  return async () => {
    const first = await pull(target.size).catch(error => {
      // The file was replaced by a shorter one.
      if (error.code === 'offset') return pull(0)
      throw error
    })
    const { size, version } = first
    if (version === '' || version !== file?.version) {
      file = { size, version }
      await target.begin(file)
    }
    // The target may have further parts.
    if (first.offset === target.size) await accept(first)
    await pipeline(parts(file), accept)
    if (version === '') return
    const [answer, found] = await Promise.all([peer.call('fws.hash', { filepath, version }), target.sha256()])
    const { sha256 } = Object(answer)
    if (found !== sha256)
      throw new peer.Failed('corrupt', `the received bytes of "${filepath}" have the sha256 ${found}, not ${sha256}`)
  }
}

/** Runs calls, a few at a time, and handles their results in order. Settles when no call is pending. */
async function pipeline<T>(calls: AsyncIterable<() => Promise<T>>, handle: (result: T) => unknown): Promise<void> {
  const pending: Promise<T>[] = []
  try {
    for await (const call of calls) {
      const result = call()
      // After an earlier error this rejection is not awaited.
      result.catch(() => {})
      pending.push(result)
      if (pending.length === IN_FLIGHT) await handle(await pending.shift()!)
    }
    for (const result of pending) await handle(await result)
  } finally {
    await Promise.allSettled(pending)
  }
}
