import { MAX_UPLOAD_ID } from '../../protocols/nanollm/upload.ts'
import { UploadError } from './upload-error.ts'
import type { UploadSpec } from './uploads.ts'

/** JSON of a client about one of its uploads; the client chooses the id. */
export type Command =
  | { readonly verb: 'begin'; readonly id: number; readonly spec: UploadSpec }
  | { readonly verb: 'end' | 'cancel'; readonly id: number }

type Fields = Readonly<Record<string, unknown>>

/** The id in the metadata of a chunk; `undefined`: none. */
export function chunkIdOf(metadata: string): number | undefined {
  return /^(?:0|[1-9]\d{0,7})$/.test(metadata) ? Number(metadata) : undefined
}

/** The id in a command, also if the rest of the command is invalid; `undefined`: none. */
export function commandIdOf(json: unknown): number | undefined {
  const { begin, end, cancel } = (json ?? {}) as Fields
  const ids = [begin, end, cancel].filter(id => id !== undefined)
  return ids.length === 1 && isId(ids[0]) ? ids[0] : undefined
}

/**
 * Reads a message of type 6.
 *
 * @throws UploadError `format`
 */
export function readCommand(json: unknown): Command {
  const id = commandIdOf(json)
  if (id === undefined)
    throw new UploadError(
      'format',
      `an upload command has begin, end or cancel with a number from 0 to ${MAX_UPLOAD_ID}`,
    )
  const { begin, name, size, audio } = json as Fields
  if (begin === undefined) {
    const verb = 'end' in (json as Fields) ? 'end' : 'cancel'
    if (!hasOnly(json, verb)) throw new UploadError('format', `${verb} has no other properties`)
    return { verb, id }
  }
  if (hasOnly(json, 'begin', 'name', 'size') && typeof name === 'string' && typeof size === 'number')
    return { verb: 'begin', id, spec: { name, size } }
  if (hasOnly(json, 'begin', 'audio') && hasOnly(audio, 'rate', 'channels')) {
    const { rate, channels } = audio
    if (typeof rate === 'number' && typeof channels === 'number')
      return { verb: 'begin', id, spec: { audio: { rate, channels } } }
  }
  throw new UploadError('format', 'begin has name and size, or audio with rate and channels, and no other properties')
}

function hasOnly(value: unknown, ...names: readonly string[]): value is Fields {
  if (typeof value !== 'object' || value === null) return false
  const keys = Object.keys(value)
  return keys.length === names.length && names.every(name => keys.includes(name))
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_UPLOAD_ID
}
