/**
 * Whether a pattern stands for a text: `*` for any characters or none, `?` for one, all others for themselves. Takes at
 * most as many steps as the two lengths multiplied.
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
