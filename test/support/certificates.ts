import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generate } from 'selfsigned'
import { folder, type Test } from './cli.ts'

/** PEM strings. */
export interface Pems {
  readonly key: string
  readonly cert: string
}

/** A certificate authority. */
export async function authority(name: string): Promise<Pems> {
  const extensions = [
    { name: 'basicConstraints' as const, cA: true, critical: true },
    { name: 'keyUsage' as const, keyCertSign: true, critical: true },
  ]
  const { private: key, cert } = await generate([{ name: 'commonName', value: name }], { extensions })
  return { key, cert }
}

/** A certificate with a subject of `names`, signed by an authority, for servers and clients. */
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

/** A key with a self-signed certificate. */
export async function selfSigned(name = 'localhost'): Promise<Pems> {
  const { private: key, cert } = await generate([{ name: 'commonName', value: name }])
  return { key, cert }
}

/** Files of a self-signed certificate, removed after the test. `renew` replaces them. */
export async function selfSignedFiles(t: Test, name?: string) {
  const path = folder(t)
  const files = { key: join(path, 'key.pem'), cert: join(path, 'cert.pem') }
  const renew = async (name?: string): Promise<Pems> => {
    const pems = await selfSigned(name)
    await Promise.all([writeFile(files.key, pems.key), writeFile(files.cert, pems.cert)])
    return pems
  }
  return { files, pems: await renew(name), renew }
}

/** Returns a function that writes a PEM file to a folder, removed after the test, and returns its path. */
export async function pemFiles(t: Test): Promise<(name: string, pem: string) => Promise<string>> {
  const path = folder(t)
  return async (name, pem) => {
    await writeFile(join(path, name), pem)
    return join(path, name)
  }
}
