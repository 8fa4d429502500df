import { randomUUID } from 'node:crypto'

/**
 * JSON in which NaN, Infinity and -Infinity may stand for numbers, as Python writes it.
 *
 * @throws SyntaxError
 */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (!/NaN|Infinity/.test(text)) throw error
    return readWithSpecials(text)
  }
}

/** JSON has a number that is infinite, 1e999, but none that is NaN: a text stands for it that nobody can have guessed. */
function readWithSpecials(text: string): unknown {
  const nan = `NaN ${randomUUID()}`
  let isQuoted = false
  const plain = text.replace(/\\.|"|\b(?:NaN|Infinity)\b/gs, token => {
    if (token === '"') isQuoted = !isQuoted
    if (isQuoted || token === '"' || token.startsWith('\\')) return token
    return token === 'NaN' ? `"${nan}"` : '1e999'
  })
  return JSON.parse(plain, (_, value) => (value === nan ? Number.NaN : value))
}
