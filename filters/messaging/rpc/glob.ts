/** A pattern with adjacent `*` reduced to one, which matches the same strings in fewer steps. */
export function globOf(pattern: string): string {
  return pattern.replace(/\*+/g, '*')
}

/**
 * Whether a pattern matches a string completely: `*` matches any characters or none, `?` one character.
 *
 * Takes at most `pattern.length * text.length` steps; with a pattern of `globOf` at most `text.length ** 2`.
 */
export function matches(pattern: string, text: string): boolean {
  let [p, t] = [0, 0]
  /** Index of the last star, and the end of its match. */
  let [star, end] = [-1, 0]
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p++
      end = t
    } else if (pattern[p] === '?' || pattern[p] === text[t]) {
      p++
      t++
    } else if (star >= 0) {
      p = star + 1
      t = ++end
    } else {
      return false
    }
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}
