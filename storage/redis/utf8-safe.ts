const MARK = '\0'

/**
 * Encodes a string for UTF-8 without collisions: lone surrogates cannot be encoded as UTF-8. A string with lone surrogates, or
 * one that begins with NUL, becomes NUL followed by its JSON.
 */
export function toUtf8Safe(text: string): string {
  return text.isWellFormed() && !text.startsWith(MARK) ? text : MARK + JSON.stringify(text)
}

/** Reverses `toUtf8Safe`. */
export function fromUtf8Safe(text: string): string {
  return text.startsWith(MARK) ? JSON.parse(text.slice(MARK.length)) : text
}
