import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { Uploads, type UploadsOptions } from '../../filters/media/uploads.ts'
import { folder, type Test } from './cli.ts'

/** The smallest PNG, of one pixel. */
export const PNG = Buffer.from(
  '89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082',
  'hex',
)

/** A Buffer of `bytes` that begins like a PNG. */
export function png(bytes: number): Buffer {
  return Buffer.concat([PNG, Buffer.alloc(bytes - PNG.length)])
}

/** Uploads to an empty folder, removed after the test. */
export async function uploadsOf(t: Test, options: Partial<UploadsOptions> = {}): Promise<Uploads> {
  const uploads = new Uploads({
    folder: options.folder ?? join(folder(t), 'uploads'),
    url: '/uploads',
    types: ['png', 'jpg', 'txt', 'wav', 'bin'],
    maxBytes: 1_000_000,
    maxFiles: 100,
    quota: 10_000_000,
    log: pino({ level: 'silent' }),
    ...options,
  })
  await uploads.open()
  t.after(() => uploads.close())
  return uploads
}

/** The files in its folder, including unfinished ones. */
export function filesOf({ folder }: { readonly folder: string }): readonly string[] {
  return readdirSync(folder).sort()
}
