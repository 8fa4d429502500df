import type { Client, Host } from 'filtered-websocket'
import { FileError, FileHashes, FileStore, IncomingFiles, OwnerLimiter } from 'filtered-websocket/kit'
import type { options } from '../options.ts'

/** Milliseconds between two deletions of old parts. */
const CLEANING_INTERVAL = 60_000
/** Shares of one client of the transfers, and of the free quota. */
const TRANSFER_SHARE = 1 / 8
const QUOTA_SHARE = 1 / 4
const MIB = 2 ** 20
/** Milliseconds for the hash of each MiB, on a peer with a slow disk. */
const HASH_PER_MIB = 100

/** The files under `--messaging-root`, and the limits of their transfers. */
export interface Store {
  readonly files: FileStore
  /** Transfers at a time, in both directions. */
  readonly transfers: OwnerLimiter
  readonly incoming: IncomingFiles
  /** Of requested files. Received files have others: clients that request hashes of large files do not delay them. */
  readonly hashes: FileHashes
  /** Bytes of a file that is sent in one frame or held in memory. */
  readonly maxWhole: number
  /** Milliseconds in which a transfer must make progress. */
  readonly idleTimeout: number
}

/** `undefined` without `--messaging-root`. @throws (rejects) Error `ERR_OPTION`: the root cannot be used. */
export async function openStore(host: Host<typeof options>): Promise<Store | undefined> {
  const { options: chosen } = host
  const { 'messaging-root': path, 'messaging-max-transfers': maxTransfers } = chosen
  if (path === undefined) return undefined
  const files = await FileStore.open(path, '--messaging-root', {
    quota: chosen['messaging-quota'],
    share: QUOTA_SHARE,
    partAge: chosen['messaging-part-age'] * 1000,
  })
  host.untrustedFolders.add(files.path, '--messaging-root')
  await files.clean()
  host.every(CLEANING_INTERVAL, () => files.clean())
  const transfers = new OwnerLimiter(maxTransfers, Math.max(1, Math.floor(maxTransfers * TRANSFER_SHARE)), 'files')
  return {
    files,
    transfers,
    incoming: new IncomingFiles({ store: files, limiter: transfers, maxFile: chosen['messaging-max-file'] }),
    hashes: new FileHashes(),
    maxWhole: chosen['messaging-max-whole'],
    idleTimeout: chosen['messaging-idle'] * 1000,
  }
}

/** The owner of shares: the identity of a client; without one its connection, since an id is not authenticated. */
export function ownerOf(client: Client): unknown {
  return client.identity ?? client
}

/** @throws FileError `too-large`: a file of `size` bytes does not fit into one frame. */
export function checkFrame({ maxWhole }: Store, size: number): void {
  if (size > maxWhole)
    throw new FileError('too-large', `a file in one frame has at most ${maxWhole} bytes, this has ${size}`)
}

/** Milliseconds for an answer after the hash of a file of `size` bytes. */
export function hashTimeout({ idleTimeout }: Store, size: number): number {
  return idleTimeout + (HASH_PER_MIB * size) / MIB
}

/** Milliseconds for a client to receive `size` bytes at once: the idle timeout, and as much for each MiB. */
export function drainTimeout({ idleTimeout }: Store, size: number): number {
  return idleTimeout * (1 + size / MIB)
}
