import { FileHashes, type FileStore, OwnerLimiter } from 'filtered-websocket/kit'
import { Writers } from './writers.ts'

/** Files of a server or a client, and the limits of their transfers. */
export class Store {
  readonly files: FileStore
  /** Transfers at a time. */
  readonly transfers: OwnerLimiter
  readonly writers = new Writers()
  /** Of requested files. */
  readonly hashes = new FileHashes()
  /** Of received files: clients that request hashes of large files do not delay them. */
  readonly checks = new FileHashes()
  /** Bytes of one received file. */
  readonly maxFile: number
  /** Milliseconds in which a transfer must make progress. */
  readonly idleTimeout: number

  constructor(
    files: FileStore,
    limits: { maxTransfers: number; share?: number; maxFile: number; idleTimeout: number },
  ) {
    const { maxTransfers, share = 1, maxFile, idleTimeout } = limits
    this.files = files
    this.transfers = new OwnerLimiter(maxTransfers, Math.max(1, Math.floor(maxTransfers * share)), 'files')
    this.maxFile = maxFile
    this.idleTimeout = idleTimeout
  }
}
