/** The candidate that is most similar to a mistyped word, or `undefined` if none is close. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const d = distance(word.toLowerCase(), candidate.toLowerCase())
    if (d < bestDistance) {
      best = candidate
      bestDistance = d
    }
  }
  return best
}

/** `; did you mean "x"?`, or an empty string. */
export function suggest(word: string, candidates: Iterable<string>, show = (name: string) => `"${name}"`): string {
  const found = nearest(word, candidates)
  return found === undefined ? '' : `; did you mean ${show(found)}?`
}

/**
 * What an unknown option may be: one of a module that is not chosen, or a misspelled one.
 *
 * @param elsewhere - owner by option of modules that are not chosen.
 */
export function hintFor(
  name: string,
  known: Iterable<string>,
  elsewhere: ReadonlyMap<string, string>,
  show = (option: string) => `"${option}"`,
): string {
  const owner = elsewhere.get(name)
  if (owner !== undefined) return `; it belongs to ${owner}, which is not chosen`
  const hint = suggest(name, known, show)
  if (hint !== '') return hint
  return suggest(name, elsewhere.keys(), option => `${show(option)} of ${elsewhere.get(option)}`)
}

/** Edit distance with insertions, deletions, substitutions and transpositions (optimal string alignment). */
function distance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      let cost = Math.min(substitution, last[j]! + 1, row[j - 1]! + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, beforeLast[j - 2]! + 1)
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}
