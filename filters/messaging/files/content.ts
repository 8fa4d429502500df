import { FileError, type IncomingFile, type IncomingFiles, type IncomingPlan } from 'filtered-websocket/kit'
import type { TransferProgress } from '../../../protocols/clever-show/transfer.ts'
import { ContentStream } from '../wire/content-stream.ts'

/** The content of a frame: a file or a part of one. */
export type Content = Buffer | ContentStream

/**
 * Writes a file to a part as its bytes arrive. After an error the part does not exist.
 *
 * @returns the file, which the caller commits or ends.
 * @throws (rejects) FileError; LimitError; errors of the system
 */
export async function receive(
  incoming: IncomingFiles,
  plan: Omit<IncomingPlan, 'size' | 'part'>,
  content: Content,
  { onProgress }: TransferProgress = {},
): Promise<IncomingFile> {
  const size = sizeOf(content)
  const file = await incoming.begin({ ...plan, size })
  try {
    for await (const bytes of piecesOf(content)) {
      await file.append(bytes)
      onProgress?.({ bytes: file.size, size })
    }
    if (file.size !== size) throw gone()
    file.filled()
    return file
  } catch (error) {
    await file.end(false)
    throw error
  }
}

/** All bytes. @throws (rejects) FileError `too-large`, `gone` */
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
  try {
    if (content instanceof ContentStream) yield* content
    else yield content
  } catch (error) {
    throw content instanceof ContentStream && content.destroyed ? gone() : error
  }
}

export function tooLarge(size: number, max: number): FileError {
  return new FileError('too-large', `a file that is not saved has at most ${max} bytes, received ${size}`)
}

function gone(): FileError {
  return new FileError('gone', 'the connection ended before the file was complete')
}
