import { stat } from 'node:fs/promises'
import { failedBy } from '../../filters/messaging/files/failed.ts'
import { receive } from '../../filters/messaging/files/receive.ts'
import { Store } from '../../filters/messaging/files/store.ts'
import type { Sender } from '../../filters/messaging/files/upload.ts'
import { Uploads } from '../../filters/messaging/files/uploads.ts'
import { failureIn } from '../../filters/messaging/rpc/outcome.ts'
import { FileError } from '../../src/kit/files/file-error.ts'
import { FileStore } from '../../src/kit/files/store.ts'
import type { StoredFile } from '../../src/kit/files/stored-file.ts'
import type { SharedFiles } from './shared.ts'

const GIB = 1024 ** 3
const AT_A_TIME = 8
/** Milliseconds in which an upload must go on, to be kept open; and for which what came of it is kept. */
const IDLE = 60_000
const PART_AGE = 3_600_000

export interface FolderOptions {
  /** Bytes of one file of the server; default 1 GiB. */
  readonly maxFile?: number
  /** Bytes that may be in the folder in all, before files of the server are refused; default 10 GiB. */
  readonly quota?: number
  /** Told the path of a file of the server that is in its place; the server is told what it throws, and may send it again. */
  readonly onFile?: (filepath: string) => unknown
}

/**
 * A folder of this machine, which the server may send to and get from, as a client of the server may with
 * `--messaging-root`: `connectMessaging(url, { files: await folder('/home/pi/files') })`. No link in it is followed. Rejects
 * where there is no folder.
 */
export async function folder(path: string, options: FolderOptions = {}): Promise<SharedFiles> {
  const { maxFile = GIB, quota = 10 * GIB, onFile } = options
  if (!(await stat(path)).isDirectory()) throw new TypeError(`files are shared in a folder, received "${path}"`)
  const shared = await FileStore.open(path, 'folder()', { quota, partAge: PART_AGE })
  const store = new Store(shared, { maxTransfers: AT_A_TIME, maxFile, idleTimeout: IDLE })
  const uploads = new Uploads(store)
  // The same on whichever connection.
  const server: Sender = { id: 'server', identity: undefined, state: {}, signal: new AbortController().signal }

  async function using<T>(filepath: string, use: (file: StoredFile) => Promise<T>): Promise<T> {
    const file = await shared.file(filepath)
    try {
      return await use(file)
    } finally {
      await file.close()
    }
  }

  async function hear(filepath: string): Promise<void> {
    try {
      await onFile?.(filepath)
    } catch (error) {
      const { code, message } = failureIn(`file ${filepath}`, error)
      throw new FileError(code, message, error)
    }
  }

  return {
    find: upload => told(uploads.find(server, upload)),
    async take({ filepath, size, key }, offset, bytes, sha256) {
      const part = { key, offset, size, ...(sha256 !== undefined && { sha256 }) }
      const hooks = { allow: async () => {}, saved: () => hear(filepath) }
      await told(uploads.append(server, filepath, part, Buffer.from(bytes), hooks))
    },
    async save(filepath, bytes) {
      const writing = await told(receive(store, { writer: server, filepath }, Buffer.from(bytes)))
      await told(writing.commit()).finally(() => writing.end(false))
      await hear(filepath)
    },
    read: (filepath, offset, length) =>
      told(
        using(filepath, async file => {
          const bytes = await file.read(offset, length)
          await file.checkUnchanged()
          return { bytes, size: file.size, version: file.version }
        }),
      ),
    hash: (filepath, version) =>
      told(
        using(filepath, file => {
          if (file.version !== version) throw new FileError('changed', 'the file has changed')
          return store.hashes.of(file)
        }),
      ),
  }
}

/** Paths of this machine are not for the server. */
function told<T>(work: Promise<T>): Promise<T> {
  return work.catch(error => {
    throw failedBy(error)
  })
}
