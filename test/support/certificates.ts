import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generate } from 'selfsigned'

/** PEM texts. */
export interface Pems {
  readonly key: string
  readonly cert: string
}

/** An authority that signs its own certificate. */
export async function authority(name: string): Promise<Pems> {
  const extensions = [
    { name: 'basicConstraints' as const, cA: true, critical: true },
    { name: 'keyUsage' as const, keyCertSign: true, critical: true },
  ]
  const { private: key, cert } = await generate([{ name: 'commonName', value: name }], { extensions })
  return { key, cert }
}

/** A certificate that the authority has signed: of these names, for a server and a client alike. */
export async function signed(
  by: Pems,
  names: Readonly<Record<string, string>> | readonly (readonly [string, string])[],
  valid: { from?: Date; until?: Date } = {},
): Promise<Pems> {
  const entries = Array.isArray(names) ? names : Object.entries(names)
  const { private: key, cert } = await generate(
    entries.map(([name, value]) => ({ name, value })),
    {
      ca: by,
      extensions: [
        { name: 'basicConstraints', cA: false },
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
      ],
      ...(valid.from && { notBeforeDate: valid.from }),
      ...(valid.until && { notAfterDate: valid.until }),
    },
  )
  return { key, cert }
}

/** PEM texts in files of a folder, gone after the test; answers their paths, and writes more. */
export async function pemFiles(t: {
  after(fn: () => Promise<void>): void
}): Promise<(name: string, pem: string) => Promise<string>> {
  const folder = await mkdtemp(join(tmpdir(), 'fws-'))
  t.after(() => rm(folder, { recursive: true }))
  return async (name, pem) => {
    const path = join(folder, name)
    await writeFile(path, pem)
    return path
  }
}
