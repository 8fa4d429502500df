import { FileError } from 'filtered-websocket/kit'
import { Incoming } from '../wire/incoming.ts'
import { type Plan, type Store, Writing } from './writing.ts'

export type Content = Buffer | Incoming

/**
 * Writes a whole file to a part as its bytes arrive. After an error the part does not exist.
 *
 * @param onProgress - called with the bytes that are written.
 * @returns the write, which has to be placed.
 * @throws (rejects) FileError; LimitError; errors of the system
 */
export async function receive(
  store: Store,
  plan: Omit<Plan, 'size' | 'part'>,
  content: Content,
  onProgress: (bytes: number) => void = () => {},
): Promise<Writing> {
  const size = sizeOf(content)
  const writing = await Writing.begin(store, { ...plan, size })
  try {
    for await (const bytes of piecesOf(content)) {
      await writing.file.append(bytes)
      onProgress(writing.file.size)
    }
    if (writing.file.size !== size) throw gone()
    writing.filled()
    return writing
  } catch (error) {
    await writing.end(false)
    throw error
  }
}

/** All of it, in memory. @throws FileError `too-large`, `gone`. */
export async function gather(content: Content, max: number): Promise<Buffer> {
  const size = sizeOf(content)
  if (size > max) {
    abandon(content)
    throw new FileError('too-large', `a file that is not saved has at most ${max} bytes, received ${size}`)
  }
  const pieces: Buffer[] = []
  for await (const bytes of piecesOf(content)) pieces.push(bytes)
  return Buffer.concat(pieces)
}

export function sizeOf(content: Content): number {
  return content instanceof Incoming ? content.size : content.length
}

/** What of it has not come yet is not wanted. */
export function abandon(content: Content): void {
  if (content instanceof Incoming) content.destroy()
}

async function* piecesOf(content: Content): AsyncGenerator<Buffer> {
  if (!(content instanceof Incoming)) {
    yield content
    return
  }
  try {
    for await (const bytes of content) yield bytes as Buffer
  } catch (error) {
    throw content.destroyed ? gone() : error
  }
}

function gone(): FileError {
  return new FileError('gone', 'the connection ended before the file was whole')
}
