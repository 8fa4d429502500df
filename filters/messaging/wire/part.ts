import { Malformed, shown } from './malformed.ts'

/** Names an upload, so that it can go on after a break. */
export const KEY = /^[A-Za-z0-9_-]{1,64}$/
const SHA256 = /^[0-9a-f]{64}$/

/** Which bytes of a file a part is, of one that comes to the receiver as actions. */
export interface PushedPart {
  readonly key: string
  /** Bytes before it. */
  readonly offset: number
  /** Bytes of the whole. */
  readonly size: number
  /** Of the whole, in hexadecimal: in the last part. */
  readonly sha256?: string
}

/** The same of one that was asked for. */
export interface PulledPart {
  readonly offset: number
  readonly size: number
  /** Another one as soon as the file has changed. */
  readonly version: string
}

type Fields = Readonly<Record<string, unknown>>

/** What the header of an action says of a part. @throws Malformed */
export function pushedPartIn({ key, offset, size, sha256 }: Fields): { readonly part?: PushedPart } {
  if (offset === undefined) return {}
  if (typeof key !== 'string' || !KEY.test(key))
    throw new Malformed(`the key of a part is 1 to 64 of A-Z a-z 0-9 _ -, received ${shown(key)}`)
  const last = (sha256 ?? undefined) !== undefined
  if (last && !(typeof sha256 === 'string' && SHA256.test(sha256)))
    throw new Malformed(`the sha256 of a file is 64 hexadecimal digits in small letters, received ${shown(sha256)}`)
  return { part: { key, ...placeOf(offset, size), ...(last && { sha256: sha256 as string }) } }
}

/** What the header of an answer says of a part. @throws Malformed */
export function pulledPartIn({ offset, size, version }: Fields): { readonly part?: PulledPart } {
  if (offset === undefined) return {}
  if (typeof version !== 'string' || version.length > 64)
    throw new Malformed(`the version of a file is a text of at most 64 characters, received ${shown(version)}`)
  return { part: { ...placeOf(offset, size), version } }
}

function placeOf(offset: unknown, size: unknown): { offset: number; size: number } {
  for (const [name, value] of Object.entries({ offset, size })) {
    if (!isCount(value)) throw new Malformed(`the ${name} of a part is a number of bytes, received ${shown(value)}`)
  }
  return { offset: offset as number, size: size as number }
}

/** A number of bytes. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
