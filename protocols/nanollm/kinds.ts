/** Named kinds, each at the index of its type (nanollm-webserver, section 2). */
const NAMES = ['json', 'text', 'binary', 'file', 'audio', 'image'] as const
/** Types of uploads in chunks: JSON about the uploads, and their bytes. */
export const UPLOAD = 6
export const CHUNK = 7
/** Types of applications begin here. */
const FIRST_CUSTOM = 8
const MAX_TYPE = 0xffff

export type NamedKind = (typeof NAMES)[number]
/** The kind of a message; a number is a custom type, 8 to 65535. */
export type Kind = NamedKind | number

export function kindOf(type: number): Kind {
  return NAMES[type] ?? type
}

export function typeOf(kind: Kind): number {
  return typeof kind === 'number' ? kind : NAMES.indexOf(kind)
}

/** Whether messages of a type, or kind, are about uploads in chunks. */
export function isUploadType(type: unknown): boolean {
  return type === UPLOAD || type === CHUNK
}

/** The kinds that applications use, for errors. */
export const VALID_KINDS = `${NAMES.join(', ')} or a number from ${FIRST_CUSTOM} to ${MAX_TYPE}`

/** Whether a value is a kind that applications use. */
export function isKind(value: unknown): value is Kind {
  if (typeof value !== 'number') return NAMES.includes(value as NamedKind)
  return Number.isInteger(value) && value >= FIRST_CUSTOM && value <= MAX_TYPE
}
