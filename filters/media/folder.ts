import { mkdir, stat } from 'node:fs/promises'
import { FileStore, type FileStoreOptions, optionError } from 'filtered-websocket/kit'

/**
 * The store of uploads. Its folder is made if its parent exists, and tried with a file.
 *
 * @param path - value of `--media-uploads`.
 * @throws (rejects) Error `ERR_OPTION`
 */
export async function openFolder(path: string, options: FileStoreOptions): Promise<FileStore> {
  try {
    await mkdir(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') throw optionError(`--media-uploads takes a folder whose parent exists, received "${path}"`)
    if (code !== 'EEXIST') throw optionError(`--media-uploads cannot be made: ${code}, received "${path}"`)
  }
  const stats = await stat(path).catch(() => undefined)
  if (!stats?.isDirectory()) throw optionError(`--media-uploads takes a folder, received "${path}"`)
  const store = await FileStore.open(path, '--media-uploads', options)
  await store.probe().catch(({ code }: NodeJS.ErrnoException) => {
    throw optionError(`--media-uploads takes a folder that can be written: ${code}, received "${path}"`)
  })
  return store
}
