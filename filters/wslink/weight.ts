import { isMap } from './envelope.ts'

/** Bytes of each place in a list or a map, and of each value that is an object itself; measured with empty maps. */
const PLACE = 32
const OBJECT = 96

/**
 * Bytes that a decoded message takes beside those that it came in, roughly: a list of empty maps has one byte for each as
 * it comes, and over a hundred times as many while a call holds it.
 */
export function weightOf(message: unknown): number {
  const open = [message]
  let weight = 0
  while (open.length > 0) {
    const value = open.pop()
    weight += OBJECT
    const items = Array.isArray(value) ? value : isMap(value) ? Object.values(value) : []
    weight += PLACE * items.length
    for (const item of items) if (typeof item === 'object' && item !== null) open.push(item)
  }
  return weight
}
