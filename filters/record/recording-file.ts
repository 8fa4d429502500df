import { constants } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { optionError, RECORDING_VERSION } from 'filtered-websocket/kit'

const FLAGS = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK
/** Recordings hold messages of clients. */
const MODE = 0o600
/** Bytes of one write, and of one read. */
const PIECE = 1_048_576
const BLOCK = 65_536
/** The first bytes of a recording. */
const START = Buffer.from('{"recording":')
const NEWLINE = 0x0a

export interface RecordingOptions {
  readonly path: string
  readonly maxBytes: number
  readonly files: number
  readonly maxBuffered: number
  /** Called once, when lines cannot be written; later lines are dropped. */
  onFail(error: unknown): void
}

/** Appends lines to a file, which becomes `FILE.1` at its size. A write has complete lines, so only the last line of a file can be cut. */
export class RecordingFile {
  readonly #options: RecordingOptions
  #handle: FileHandle
  #size: number
  #lines: Buffer[] = []
  /** Bytes that wait, with those of the write that is under way. */
  #waiting = 0
  #writing: Promise<void> | undefined
  #hasStopped = false

  /** @throws (rejects) Error `ERR_OPTION`: the file cannot be opened, or is not a recording. */
  static async open(options: RecordingOptions): Promise<RecordingFile> {
    const { path } = options
    try {
      const handle = await openRecording(path)
      try {
        const file = new RecordingFile(options, handle, await endOf(handle))
        await file.#begin()
        return file
      } catch (error) {
        await handle.close()
        throw error
      }
    } catch (error) {
      throw optionError(`--record-file cannot be used: ${(error as Error).message}`, error)
    }
  }

  private constructor(options: RecordingOptions, handle: FileHandle, size: number) {
    this.#options = options
    this.#handle = handle
    this.#size = size
  }

  /** @param text - a line with its line end. */
  add(text: string): void {
    if (this.#hasStopped) return
    const { maxBuffered } = this.#options
    const line = Buffer.from(text)
    this.#waiting += line.length
    if (this.#waiting > maxBuffered) {
      this.#fail(new Error(`more than --record-max-buffered, ${maxBuffered} bytes, wait for the disk`))
      return
    }
    this.#lines.push(line)
    this.#writing ??= new Promise(setImmediate).then(() => this.#drain())
  }

  /** Writes the lines that wait. */
  async close(): Promise<void> {
    await this.#writing
    this.#hasStopped = true
    await this.#handle.close()
  }

  async #drain(): Promise<void> {
    try {
      while (this.#lines.length > 0) {
        if (this.#size + this.#lines[0]!.length > this.#options.maxBytes) await this.#rotate()
        const piece = this.#take(Math.min(PIECE, this.#options.maxBytes - this.#size))
        await this.#write(piece)
        this.#waiting -= piece.length
      }
    } catch (error) {
      this.#fail(error)
    }
    this.#writing = undefined
  }

  /** The first line, and those behind it that fit in the same write. */
  #take(maxBytes: number): Buffer {
    let bytes = 0
    let end = 0
    do bytes += this.#lines[end++]!.length
    while (end < this.#lines.length && bytes + this.#lines[end]!.length <= maxBytes)
    return Buffer.concat(this.#lines.splice(0, end), bytes)
  }

  /** A part of a piece that the disk had no room for is removed, so that the file ends with a complete line. */
  async #write(piece: Buffer): Promise<void> {
    try {
      await this.#handle.writeFile(piece)
      this.#size += piece.length
    } catch (error) {
      await this.#handle.truncate(this.#size).catch(() => {})
      throw error
    }
  }

  async #rotate(): Promise<void> {
    const { path, files } = this.#options
    await this.#handle.close()
    if (files === 1) await rm(path)
    for (let number = files - 1; number > 0; number--)
      await rename(number === 1 ? path : `${path}.${number - 1}`, `${path}.${number}`).catch(ignoreMissing)
    this.#handle = await openRecording(path)
    this.#size = 0
    await this.#begin()
  }

  #begin(): Promise<void> {
    return this.#write(Buffer.from(`{"recording":${RECORDING_VERSION},"at":${Date.now()}}\n`))
  }

  #fail(error: unknown): void {
    if (this.#hasStopped) return
    this.#hasStopped = true
    this.#lines = []
    this.#options.onFail(error)
  }
}

/** @throws (rejects) Error: it is another kind of file, or the error of the file system. */
async function openRecording(path: string): Promise<FileHandle> {
  const handle = await open(path, FLAGS, MODE)
  try {
    const stats = await handle.stat()
    if (!stats.isFile()) throw new Error(`${path} is not a regular file`)
    const { buffer } = await handle.read({ buffer: Buffer.alloc(START.length), position: 0 })
    if (stats.size > 0 && !buffer.equals(START)) throw new Error(`${path} exists, and is not a recording`)
    await handle.chmod(MODE)
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** The size of the file, without a last line that a killed process has left incomplete. */
async function endOf(handle: FileHandle): Promise<number> {
  const { size } = await handle.stat()
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - BLOCK)
    const { buffer } = await handle.read({ buffer: Buffer.alloc(end - start), position: start })
    const last = buffer.lastIndexOf(NEWLINE)
    if (last !== -1 || start === 0) {
      if (start + last + 1 < size) await handle.truncate(start + last + 1)
      return start + last + 1
    }
    end = start
  }
  return 0
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
