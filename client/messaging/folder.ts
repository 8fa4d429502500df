import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import {
  BoundedMap,
  FileError,
  FileHashes,
  FileStore,
  type FileWrite,
  fileErrorOf,
  SerialQueues,
  type StoredFile,
} from 'filtered-websocket/kit'
import type { SharedFiles, Upload } from './shared-files.ts'

const GIB = 1024 ** 3
/** Milliseconds that an incomplete upload is kept after its last part. */
const PART_AGE = 3_600_000
/** Completed uploads that are remembered: the response to the last part may be lost. */
const MAX_COMPLETED = 256
/** Incomplete uploads whose space stays reserved between two parts, and milliseconds for which it does. */
const MAX_OPEN = 8
const IDLE = 60_000
/** Failures after which the received bytes are useless. */
const FINAL = ['corrupt', 'full']

interface OpenUpload {
  readonly file: FileWrite
  readonly timer: NodeJS.Timeout
}

export interface FolderOptions {
  /** Bytes of one file. Default: 1 GiB. */
  readonly maxFile?: number
  /** Bytes of all files in the folder, above which files of the server are refused. Default: 10 GiB. */
  readonly quota?: number
  /** Called with the path of a received file when it is complete. An error is sent to the server, which may send the file again. */
  readonly onFile?: (filepath: string) => unknown
}

/**
 * A folder of this machine that the server may write to and read from, as `--messaging-root` is on the server. Links are not
 * followed. Incomplete uploads are in `.fws-parts` and are resumed, also by another process.
 *
 * @throws (rejects) TypeError: the path is not a folder; errors of the system.
 * @example
 * const copter = connectMessaging(url, { files: await folder('/home/pi/files') })
 */
export async function folder(path: string, options: FolderOptions = {}): Promise<SharedFiles> {
  const { maxFile = GIB, quota = 10 * GIB, onFile } = options
  if (!(await stat(path)).isDirectory()) throw new TypeError(`folder() takes a folder, received "${path}"`)
  const store = await FileStore.open(path, 'folder()', { quota, partAge: PART_AGE })
  const hashes = new FileHashes()
  /** By upload, which may come over several connections. */
  const queues = new SerialQueues<string>()
  /** SHA-256 of completed uploads, by the name of the part. */
  const completed = new BoundedMap<string, string>(MAX_COMPLETED)

  const open = new BoundedMap<string, OpenUpload>(MAX_OPEN, closeUpload)

  function keepOpen(part: string, file: FileWrite): void {
    const close = () => {
      open.delete(part)
      void file.end(true)
    }
    open.set(part, { file, timer: setTimeout(close, IDLE).unref() })
  }

  /** The file of an upload that continues; the next part or the timer of another upload does not find it meanwhile. */
  function takeOpen(part: string): FileWrite | undefined {
    const upload = open.get(part)
    open.delete(part)
    clearTimeout(upload?.timer)
    return upload?.file
  }

  async function read<T>(filepath: string, use: (file: StoredFile) => Promise<T>): Promise<T> {
    const file = await store.file(filepath)
    try {
      return await use(file)
    } finally {
      await file.close()
    }
  }

  /** Whether the result of an upload still exists: another process may have replaced the file. */
  async function isCompleted(part: string, filepath: string): Promise<boolean> {
    const sha256 = completed.get(part)
    if (sha256 === undefined) return false
    const isSame = (await read(filepath, file => hashes.of(file)).catch(() => '')) === sha256
    if (!isSame) completed.delete(part)
    return isSame
  }

  /** Appends to a file, which gets its name with the last byte. @returns whether it is complete. */
  async function write(
    { filepath, size, part, offset = 0 }: { filepath: string; size: number; part?: string; offset?: number },
    bytes: Uint8Array,
    sha256?: string,
  ): Promise<boolean> {
    if (size > maxFile) throw new FileError('too-large', `a file has at most ${maxFile} bytes`)
    const upload = part === undefined ? undefined : takeOpen(part)
    const file = upload ?? (await store.begin({ bytes: size, ...(part !== undefined && { part }) }))
    let isOpen = false
    let isKept = file.size > 0
    try {
      if (file.size === 0) await store.root.check(filepath)
      if (file.size > size)
        throw new FileError('corrupt', 'the part is larger than the file; send it from the beginning')
      if (offset !== file.size)
        throw new FileError('offset', `the next part begins at ${file.size}, received ${offset}`)
      if (offset + bytes.length > size)
        throw new FileError('too-large', `the file has ${size} bytes, received ${offset + bytes.length}`)
      await file.append(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
      isKept = part !== undefined
      if (file.size < size) {
        isOpen = true
        keepOpen(part!, file)
        return false
      }
      if (part !== undefined) {
        const found = await hashes.of(await file.written())
        if (found !== sha256) throw new FileError('corrupt', `the file has the sha256 ${found}, not ${sha256}`)
      }
      await file.commit(filepath)
      return true
    } catch (error) {
      if (FINAL.includes(fileErrorOf(error).code)) isKept = false
      throw error
    } finally {
      if (!isOpen) await file.end(isKept)
    }
  }

  async function notify(filepath: string): Promise<void> {
    try {
      await onFile?.(filepath)
    } catch (error) {
      // The message may contain paths of this machine.
      if (Object(error).syscall !== undefined) throw new FileError('failed', `file ${filepath} failed`, error)
      throw error
    }
  }

  return {
    find(upload) {
      const part = partOf(upload)
      return queues
        .run(part, async () => ((await isCompleted(part, upload.filepath)) ? upload.size : store.partSize(part)))
        .catch(throwVisible)
    },
    take(upload, offset, bytes, sha256 = '') {
      const { filepath, size } = upload
      const part = partOf(upload)
      return queues.run(part, async () => {
        if (offset === size && completed.get(part) === sha256 && (await isCompleted(part, filepath))) return
        completed.delete(part)
        if (!(await write({ filepath, size, part, offset }, bytes, sha256).catch(throwVisible))) return
        await notify(filepath)
        completed.set(part, sha256)
      })
    },
    save: (filepath, bytes) =>
      queues.run(filepath, async () => {
        await write({ filepath, size: bytes.length }, bytes).catch(throwVisible)
        await notify(filepath)
      }),
    read: (filepath, offset, length) =>
      read(filepath, async file => {
        const bytes = await file.read(offset, length)
        await file.checkUnchanged()
        return { bytes, size: file.size, version: file.version }
      }).catch(throwVisible),
    hash: (filepath, version) =>
      read(filepath, file => {
        if (file.version !== version) throw new FileError('changed', 'the file has changed')
        return hashes.of(file)
      }).catch(throwVisible),
  }
}

function closeUpload({ file, timer }: OpenUpload): void {
  clearTimeout(timer)
  void file.end(true)
}

/** The server must not see paths of this machine. */
function throwVisible(error: unknown): never {
  throw fileErrorOf(error)
}

/** The same name for the same upload in each process. */
function partOf({ filepath, key, size }: Upload): string {
  const hash = createHash('sha256').update(JSON.stringify([key, filepath, size]))
  return `key-${hash.digest('hex').slice(0, 40)}`
}
