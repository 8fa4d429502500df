import { stat } from 'node:fs/promises'
import {
  FileError,
  FileHashes,
  FileStore,
  FileUploads,
  fileErrorOf,
  IncomingFiles,
  OwnerLimiter,
  partName,
  type StoredFile,
  type Upload,
} from 'filtered-websocket/kit'
import type { SharedFiles, UploadKey } from './shared-files.ts'

const GIB = 1024 ** 3
/** Milliseconds that an incomplete upload is kept after its last part. */
const PART_AGE = 3_600_000
/** Files that may arrive at a time, and milliseconds in which an upload must make progress to be one of them. */
const MAX_INCOMING = 64
const IDLE = 60_000

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
  const limiter = new OwnerLimiter(MAX_INCOMING, MAX_INCOMING, 'files')
  const incoming = new IncomingFiles({ store, limiter, maxFile })
  const uploads = new FileUploads(incoming, IDLE)
  const hashes = new FileHashes()
  /** On all connections. */
  const server = {}

  async function save(filepath: string, bytes: Uint8Array): Promise<void> {
    const file = await incoming.begin({ filepath, size: bytes.length, writer: server })
    try {
      await file.append(bufferOf(bytes))
      await file.commit()
    } finally {
      await file.end(false)
    }
    await notify(filepath)
  }

  async function notify(filepath: string): Promise<void> {
    try {
      await onFile?.(filepath)
    } catch (error) {
      const { code, syscall, message } = Object(error)
      // The message of the system may contain paths of this machine.
      if (syscall !== undefined) throw new FileError('failed', `file ${filepath} failed`, error)
      throw new FileError(code ?? 'failed', message ?? String(error), error)
    }
  }

  return {
    find: upload => uploads.find(uploadOf(upload), server).catch(throwVisible),
    take(upload, offset, bytes, sha256) {
      const part = { offset, bytes: bufferOf(bytes), sha256 }
      return uploads
        .append(uploadOf(upload), server, part, { saved: () => notify(upload.filepath) })
        .catch(throwVisible)
    },
    save: (filepath, bytes) => save(filepath, bytes).catch(throwVisible),
    read(filepath, offset, length) {
      const read = async (file: StoredFile) => {
        const bytes = await file.readUnchanged(offset, length)
        return { bytes, size: file.size, version: file.version }
      }
      return store.withFile(filepath, read).catch(throwVisible)
    },
    hash(filepath, version) {
      const hash = (file: StoredFile) => {
        if (file.version !== version) throw new FileError('changed', 'the file has changed')
        return hashes.of(file)
      }
      return store.withFile(filepath, hash).catch(throwVisible)
    },
  }
}

/** The server must not see paths of this machine. */
function throwVisible(error: unknown): never {
  throw fileErrorOf(error)
}

function bufferOf({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length)
}

function uploadOf({ filepath, key, size }: UploadKey): Upload {
  return { part: partName('key', [key, filepath, size]), filepath, size }
}
