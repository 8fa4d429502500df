import type { TlsOptions } from 'node:tls'
import { FwsError, messageOf } from '../contract/errors.ts'
import { readAuthorities, readTlsFiles } from '../kit/tls-files.ts'

/** PEM files of the server. */
export interface TlsSettings {
  /** Key and certificate: both or neither. */
  readonly key: string | undefined
  readonly cert: string | undefined
  /** Passphrase of an encrypted key. */
  readonly passphrase: string | undefined
  /** Authorities for client certificates; `undefined` disables client certificates. */
  readonly ca: string | undefined
  readonly clientCert: 'required' | 'optional'
}

/**
 * Reads the files.
 *
 * @throws FwsError `ERR_OPTION` if key, certificate or authorities cannot be used.
 */
export function readTls(
  { key, cert, passphrase, ca, clientCert }: TlsSettings,
  warn: (warning: string) => void,
): TlsOptions {
  try {
    return {
      ...readTlsFiles({ key: key!, cert: cert!, passphrase }, '--', warn),
      minVersion: 'TLSv1.2',
      ...(ca !== undefined && {
        ca: readAuthorities('--ca', ca, warn),
        requestCert: true,
        rejectUnauthorized: clientCert === 'required',
      }),
    }
  } catch (error) {
    throw new FwsError('ERR_OPTION', messageOf(error), error)
  }
}
