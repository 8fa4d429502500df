import { FileError } from 'filtered-websocket/kit'
import { ContentStream } from '../wire/content-stream.ts'
import { IncomingFile, type Plan } from './incoming-file.ts'
import type { Store } from './store.ts'

export type Content = Buffer | ContentStream

/**
 * Writes a whole file to a part as its bytes arrive. After an error the part does not exist.
 *
 * @param onProgress - called with the bytes that are written.
 * @returns the file, which the caller commits or ends.
 * @throws (rejects) FileError; LimitError; errors of the system
 */
export async function receive(
  store: Store,
  plan: Omit<Plan, 'size' | 'part'>,
  content: Content,
  onProgress: (bytes: number) => void = () => {},
): Promise<IncomingFile> {
  const size = sizeOf(content)
  const file = await IncomingFile.begin(store, { ...plan, size })
  try {
    for await (const bytes of piecesOf(content)) {
      await file.write.append(bytes)
      onProgress(file.write.size)
    }
    if (file.write.size !== size) throw gone()
    file.filled()
    return file
  } catch (error) {
    await file.end(false)
    throw error
  }
}

/** The whole content. @throws (rejects) FileError `too-large`, `gone` */
export async function gather(content: Content, max: number): Promise<Buffer> {
  const size = sizeOf(content)
  if (size > max) {
    abandon(content)
    throw tooLarge(size, max)
  }
  const pieces: Buffer[] = []
  for await (const bytes of piecesOf(content)) pieces.push(bytes)
  return Buffer.concat(pieces)
}

export function sizeOf(content: Content): number {
  return content instanceof ContentStream ? content.size : content.length
}

/** Discards the bytes that have not arrived yet. */
export function abandon(content: Content): void {
  if (content instanceof ContentStream) content.destroy()
}

async function* piecesOf(content: Content): AsyncGenerator<Buffer> {
  if (!(content instanceof ContentStream)) {
    yield content
    return
  }
  try {
    for await (const bytes of content) yield bytes as Buffer
  } catch (error) {
    throw content.destroyed ? gone() : error
  }
}

export function tooLarge(size: number, max: number): FileError {
  return new FileError('too-large', `a file that is not saved has at most ${max} bytes, received ${size}`)
}

function gone(): FileError {
  return new FileError('gone', 'the connection ended before the file was complete')
}
