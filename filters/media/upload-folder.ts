import { mkdir } from 'node:fs/promises'
import { FileStore, type FileStoreOptions, optionError } from 'filtered-websocket/kit'

/**
 * Opens the store of uploads. The folder is created if its parent exists.
 *
 * @param path - value of `--media-uploads`.
 * @throws (rejects) Error `ERR_OPTION`: it is no folder, or not writable.
 */
export async function openUploadFolder(path: string, options: FileStoreOptions): Promise<FileStore> {
  await mkdir(path).catch(({ code }: NodeJS.ErrnoException) => {
    if (code === 'ENOENT') throw optionError(`--media-uploads takes a folder whose parent exists, received "${path}"`)
    if (code !== 'EEXIST') throw optionError(`--media-uploads cannot be created: ${code}, received "${path}"`)
  })
  const store = await FileStore.open(path, '--media-uploads', options)
  await store.probe().catch(({ code }: NodeJS.ErrnoException) => {
    throw optionError(`--media-uploads takes a writable folder: ${code}, received "${path}"`)
  })
  return store
}
