import { Incoming } from '../wire/incoming.ts'
import { FileFailed } from './failed.ts'
import { type Plan, type Store, Writing } from './writing.ts'

export type Content = Buffer | Incoming

/**
 * Writes a whole file as it comes, to a place that nobody sees.
 *
 * @param onProgress - hears how many bytes are there.
 * @returns what only has to be put in its place. Of what fails nothing stays.
 * @throws FileFailed; what the system says.
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
      await writing.temp.append(bytes)
      onProgress(writing.temp.size)
    }
    if (writing.temp.size !== size) throw gone()
    writing.filled()
    return writing
  } catch (error) {
    await writing.end(false)
    throw error
  }
}

/** All of it, in memory. @throws FileFailed `too-large`, `gone`. */
export async function gather(content: Content, max: number): Promise<Buffer> {
  const size = sizeOf(content)
  if (size > max) {
    abandon(content)
    throw new FileFailed('too-large', `a file that is not saved has at most ${max} bytes, received ${size}`)
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

function gone(): FileFailed {
  return new FileFailed('gone', 'the connection ended before the file was whole')
}
