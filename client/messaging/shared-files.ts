import { countIn, FILE, MAX_PART } from '../../protocols/clever-show/frame.ts'
import type { Kwargs, Request } from '../../protocols/clever-show/message.ts'
import { keyIn, pushedPartIn } from '../../protocols/clever-show/part.ts'
import { MessagingError } from './error.ts'
import { type Action, MAX_CONTENT } from './format.ts'
import type { Result } from './task-queue.ts'

/** Relative, with names between single slashes, without `.`, `..`, backslashes and control characters. */
const PATH = /^(?!.*(^|\/)\.{0,2}(\/|$))[^\\\p{Cc}]{1,1024}$/u

/** A file that the server sends in parts. */
export interface UploadKey {
  readonly filepath: string
  /** Bytes of the complete file. */
  readonly size: number
  /** 1 to 64 of A-Z a-z 0-9 _ -. */
  readonly key: string
}

/** Files that the server may write and read. The `code` and `message` of errors are sent to the server. */
export interface SharedFiles {
  /** Received bytes of an upload. */
  find(upload: UploadKey): Promise<number> | number
  /**
   * Accepts the next part of an upload. MUST throw an error with code `offset` for another part.
   *
   * @param sha256 - of the complete file, with the last part only.
   */
  take(
    upload: UploadKey,
    offset: number,
    bytes: Uint8Array<ArrayBuffer>,
    sha256: string | undefined,
  ): Promise<unknown> | unknown
  /** Accepts a complete file. */
  save(filepath: string, bytes: Uint8Array<ArrayBuffer>): Promise<unknown> | unknown
  /** Reads bytes of a file, fewer at its end. @throws (rejects) an error with code `missing` */
  read(filepath: string, offset: number, length: number): Promise<FilePart>
  /** SHA-256 of a file in hexadecimal. @throws (rejects) an error with code `changed` for another version. */
  hash(filepath: string, version: string): Promise<string>
}

export interface FilePart {
  readonly bytes: Uint8Array
  /** Bytes of the complete file. */
  readonly size: number
  /** Changes with the file. */
  readonly version: string
}

/** Shared files, or a function that opens them. */
export type Sharing = SharedFiles | (() => Promise<SharedFiles>)

/** Result of a message of the server about files. */
export async function respondToFile(sharing: Sharing, message: Action | Request): Promise<Result> {
  const files = typeof sharing === 'function' ? await sharing() : sharing
  if (message.type === 'message') return receive(files, message)
  const { name, kwargs } = message
  if (name === FILE) return send(files, kwargs)
  if (name === 'fws.part') return { value: { offset: await files.find(uploadIn(kwargs)) } }
  return { value: { sha256: await files.hash(pathIn(kwargs), `${kwargs.version}`) } }
}

async function receive(files: SharedFiles, { header = {}, content = new Uint8Array() }: Action): Promise<Result> {
  const filepath = pathIn(header)
  const { part } = pushedPartIn(header)
  if (!part) {
    await files.save(filepath, content)
    return {}
  }
  const { key, size, offset, sha256 } = part
  await files.take({ filepath, key, size }, offset, content, sha256)
  return { value: { offset: offset + content.length } }
}

async function send(files: SharedFiles, kwargs: Kwargs): Promise<Result> {
  const filepath = pathIn(kwargs)
  if (kwargs.offset !== undefined) {
    const offset = countIn(kwargs, 'offset')
    const { bytes, ...file } = await files.read(filepath, offset, Math.min(countIn(kwargs, 'length'), MAX_PART))
    return { bytes, fields: { offset, ...file } }
  }
  const { bytes, size } = await files.read(filepath, 0, MAX_CONTENT)
  if (size > bytes.length)
    throw new MessagingError('too-large', `a response has at most ${MAX_CONTENT} bytes, the file has ${size}`)
  return { bytes }
}

function pathIn({ filepath }: Kwargs): string {
  if (typeof filepath === 'string' && PATH.test(filepath)) return filepath
  throw new MessagingError('path', 'a path is relative, with names between single slashes, none of them . or ..')
}

function uploadIn(fields: Kwargs): UploadKey {
  return { filepath: pathIn(fields), size: countIn(fields, 'size'), key: keyIn(fields) }
}
