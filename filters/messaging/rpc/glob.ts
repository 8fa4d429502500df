/** A pattern to be compared with many texts: of stars in a row, which say no more than one, only one is left. */
export function globOf(pattern: string): string {
  return pattern.replace(/\*+/g, '*')
}

/**
 * Whether a pattern stands for a text: `*` for any characters or none, `?` for one, all others for themselves. Takes at
 * most as many steps as the two lengths multiplied; however long the pattern is, as the text squared if it is from
 * `globOf`.
 */
export function matches(pattern: string, text: string): boolean {
  let [p, t] = [0, 0]
  /** The last star, and where what it stands for ends. */
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
