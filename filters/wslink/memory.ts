import { isMap } from './envelope.ts'

/** Bytes per element of an array or map, and per object; measured with empty maps. */
const ELEMENT = 32
const OBJECT = 96

/**
 * Estimates the bytes of memory of a decoded message in addition to its encoded bytes. An array of empty maps has one byte per
 * map on the wire, and over a hundred in memory.
 */
export function memoryOf(message: unknown): number {
  const open = [message]
  let bytes = 0
  while (open.length > 0) {
    const value = open.pop()
    bytes += OBJECT
    const items = Array.isArray(value) ? value : isMap(value) ? Object.values(value) : []
    bytes += ELEMENT * items.length
    for (const item of items) if (typeof item === 'object' && item !== null) open.push(item)
  }
  return bytes
}
