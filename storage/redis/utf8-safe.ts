const MARK = '\0'

/**
 * A name or member as UTF-8 can carry it, each its own: UTF-8 has nothing for half a surrogate pair, and so two names that
 * differ in one would be the same. Such a name, and one that begins with NUL, becomes NUL and its JSON.
 */
export function portable(text: string): string {
  return text.isWellFormed() && !text.startsWith(MARK) ? text : MARK + JSON.stringify(text)
}

/** What `portable` was given. */
export function original(text: string): string {
  return text.startsWith(MARK) ? JSON.parse(text.slice(MARK.length)) : text
}
