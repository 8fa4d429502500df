import { Refused } from './refused.ts'
import type { Announced } from './uploads.ts'

/** What a client says of an upload, by the number that it chose for it. */
export type Command =
  | { readonly verb: 'begin'; readonly id: number; readonly announced: Announced }
  | { readonly verb: 'end' | 'cancel'; readonly id: number }

/** As decimals they fill the metadata of an envelope. */
const MAX_ID = 99_999_999

type Fields = Readonly<Record<string, unknown>>

/** The number of an upload in the metadata of a chunk; `undefined`: none. */
export function chunkIdOf(metadata: string): number | undefined {
  return /^(?:0|[1-9]\d{0,7})$/.test(metadata) ? Number(metadata) : undefined
}

/** The number of the upload that a message is about, also of one that is wrong otherwise. */
export function idOf(json: unknown): number | undefined {
  const { begin, end, cancel } = (json ?? {}) as Fields
  const ids = [begin, end, cancel].filter(id => id !== undefined)
  return ids.length === 1 && isWhole(ids[0], MAX_ID) ? ids[0] : undefined
}

/**
 * What a message of type 6 says.
 *
 * @param json - parsed.
 * @throws Refused `format`.
 */
export function commandOf(json: unknown): Command {
  const id = idOf(json)
  if (id === undefined)
    throw new Refused('format', `an upload has begin, end or cancel with one number from 0 to ${MAX_ID}`)
  const { begin, name, size, audio } = json as Fields
  if (begin === undefined) {
    const verb = 'end' in (json as Fields) ? 'end' : 'cancel'
    if (!hasOnly(json, verb)) throw new Refused('format', `${verb} has nothing beside its number`)
    return { verb, id }
  }
  if (hasOnly(json, 'begin', 'name', 'size') && typeof name === 'string' && typeof size === 'number')
    return { verb: 'begin', id, announced: { name, size } }
  if (hasOnly(json, 'begin', 'audio') && hasOnly(audio, 'rate', 'channels')) {
    const { rate, channels } = audio
    if (typeof rate === 'number' && typeof channels === 'number')
      return { verb: 'begin', id, announced: { audio: { rate, channels } } }
  }
  throw new Refused('format', 'begin has name and size, or audio with rate and channels, and nothing else')
}

function hasOnly(value: unknown, ...names: readonly string[]): value is Fields {
  if (typeof value !== 'object' || value === null) return false
  const keys = Object.keys(value)
  return keys.length === names.length && names.every(name => keys.includes(name))
}

function isWhole(value: unknown, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max
}
