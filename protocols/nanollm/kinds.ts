/** Kinds of message that have a name, each at the number of its type (nanollm-webserver, section 2). */
const NAMES = ['json', 'text', 'binary', 'file', 'audio', 'image'] as const
/** Types of uploads in chunks: JSON about them, and their bytes. */
export const UPLOAD = 6
export const CHUNK = 7
/** From here on types belong to the application. */
const FIRST_OWN = 8
const MAX_TYPE = 0xffff

export type NamedKind = (typeof NAMES)[number]
/** What a message is; a number is a type of the application, 8 to 65535. */
export type Kind = NamedKind | number

export function kindOf(type: number): Kind {
  return NAMES[type] ?? type
}

export function typeOf(kind: Kind): number {
  return typeof kind === 'number' ? kind : NAMES.indexOf(kind)
}

/** The kinds of applications, for errors. */
export const KINDS = `${NAMES.join(', ')} or a number from ${FIRST_OWN} to ${MAX_TYPE}`

/** Whether applications have messages of this kind. */
export function isKind(value: unknown): value is Kind {
  if (typeof value !== 'number') return NAMES.includes(value as NamedKind)
  return Number.isInteger(value) && value >= FIRST_OWN && value <= MAX_TYPE
}
