import { randomUUID } from 'node:crypto'
import { mkdir, open, realpath, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { optionError } from 'filtered-websocket/kit'
import { PART } from './part.ts'

/**
 * The folder of uploads without links: made if only it is missing, and tried with a file.
 *
 * @param path - what `--media-uploads` was given.
 * @throws Error `ERR_OPTION`.
 */
export async function openFolder(path: string): Promise<string> {
  try {
    await mkdir(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') throw optionError(`--media-uploads takes a folder whose parent exists, received "${path}"`)
    if (code !== 'EEXIST') throw optionError(`--media-uploads cannot be made: ${code}, received "${path}"`)
  }
  const folder = await realpath(path).catch(() => path)
  const isFolder = await stat(folder).then(
    stats => stats.isDirectory(),
    () => false,
  )
  if (!isFolder) throw optionError(`--media-uploads takes a folder, received "${path}"`)
  const probe = join(folder, `${PART}${randomUUID()}`)
  try {
    await (await open(probe, 'wx', 0o600)).close()
    await unlink(probe)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw optionError(`--media-uploads takes a folder that can be written: ${code}, received "${path}"`)
  }
  return folder
}
