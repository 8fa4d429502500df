import { FILE, MAX_PART } from '../../protocols/clever-show/frame.ts'
import type { Kwargs, Request } from '../../protocols/clever-show/message.ts'
import { isKey, pushedPartIn } from '../../protocols/clever-show/part.ts'
import { MessagingError } from './error.ts'
import { type Action, MAX_CONTENT } from './format.ts'
import { countIn } from './transfer.ts'
import type { Reply } from './work.ts'

/** Relative, of names between single slashes, without `.`, `..`, backslashes and control characters. */
const PATH = /^(?!.*(^|\/)\.{0,2}(\/|$))[^\\\p{Cc}]{1,1024}$/u

/** A file that comes in parts. */
export interface Upload {
  readonly filepath: string
  /** Bytes of the whole. */
  readonly size: number
  /** 1 to 64 of A-Z a-z 0-9 _ -. */
  readonly key: string
}

/** The files that a client shares with its server. What is thrown with a code is told to the server. */
export interface SharedFiles {
  /** Bytes that are there of an upload. */
  find(upload: Upload): Promise<number> | number
  /**
   * Takes the next part. Throws `offset` for another one.
   *
   * @param sha256 - of the whole file: it is its last part.
   */
  take(
    upload: Upload,
    offset: number,
    bytes: Uint8Array<ArrayBuffer>,
    sha256: string | undefined,
  ): Promise<unknown> | unknown
  /** Takes a whole file. */
  save(filepath: string, bytes: Uint8Array<ArrayBuffer>): Promise<unknown> | unknown
  /** Some bytes of a file, fewer at its end. Throws `missing`. */
  read(filepath: string, offset: number, length: number): Promise<FilePart>
  /** In hexadecimal, of the whole file. Throws `changed` for another version. */
  hash(filepath: string, version: string): Promise<string>
}

export interface FilePart {
  readonly bytes: Uint8Array
  /** Bytes of the whole. */
  readonly size: number
  /** Another one as soon as the file has changed. */
  readonly version: string
}

/** Files that are shared, or what opens them. */
export type Sharing = SharedFiles | (() => Promise<SharedFiles>)

/** Answers the server when it wants to do something with files. */
export async function answerFile(sharing: Sharing, message: Action | Request): Promise<Reply> {
  const files = typeof sharing === 'function' ? await sharing() : sharing
  if (message.type === 'message') return take(files, message)
  const { name, kwargs } = message
  if (name === FILE) return give(files, kwargs)
  if (name === 'fws.part') return { value: { offset: await files.find(uploadIn(kwargs)) } }
  return { value: { sha256: await files.hash(pathIn(kwargs), `${kwargs.version}`) } }
}

async function take(files: SharedFiles, { header = {}, content = new Uint8Array() }: Action): Promise<Reply> {
  const filepath = pathIn(header)
  const { part } = pushedPartIn(header)
  if (!part) {
    await files.save(filepath, content)
    return {}
  }
  const { key, size, offset, sha256 } = part
  await files.take({ filepath, key, size }, countIn(offset, size), content, sha256)
  return { value: { offset: offset + content.length } }
}

async function give(files: SharedFiles, kwargs: Kwargs): Promise<Reply> {
  const filepath = pathIn(kwargs)
  const { offset } = kwargs
  if (offset !== undefined) {
    const { bytes, ...file } = await files.read(filepath, countIn(offset), Math.min(countIn(kwargs.length), MAX_PART))
    return { bytes, fields: { offset, ...file } }
  }
  const { bytes, size } = await files.read(filepath, 0, MAX_CONTENT)
  if (size > bytes.length) throw new MessagingError('too-large', `${size} bytes are too many for one answer`)
  return { bytes }
}

function pathIn({ filepath }: Kwargs): string {
  if (typeof filepath === 'string' && PATH.test(filepath)) return filepath
  throw new MessagingError('path', 'a path is relative, with names between single slashes, none of them . or ..')
}

function uploadIn(fields: Kwargs): Upload {
  const { key, size } = fields
  if (isKey(key)) return { filepath: pathIn(fields), size: countIn(size), key }
  throw new MessagingError('failed', 'a key is 1 to 64 of A-Z a-z 0-9 _ -')
}
