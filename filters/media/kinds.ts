/** Kinds of message that have a name, each at the number of its type (nanollm-webserver, section 2). */
const NAMES = ['json', 'text', 'binary', 'file', 'audio', 'image'] as const
/** Types of uploads in chunks, which this filter keeps to itself: what is said about them, and their bytes. */
export const UPLOAD = 6
export const CHUNK = 7
const MAX_TYPE = 0xffff

export type NamedKind = (typeof NAMES)[number]
/** What a message is; a number is a type of the application's own, 8 to 65535. */
export type Kind = NamedKind | number

export function kindOf(type: number): Kind {
  return NAMES[type] ?? type
}

/** @throws RangeError for what is no kind. */
export function typeOf(kind: Kind): number {
  const type = typeof kind === 'number' ? kind : NAMES.indexOf(kind)
  if (Number.isInteger(type) && type >= 0 && type <= MAX_TYPE) return type
  throw new RangeError(`a kind is one of ${NAMES.join(', ')}, or a number up to ${MAX_TYPE}, received ${String(kind)}`)
}
