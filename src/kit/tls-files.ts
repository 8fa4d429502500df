import type { KeyObject, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { optionError } from './option-error.ts'
import { certificateBlocks, certificatesIn, holdsOnly, privateKeyIn, readPem } from './pem.ts'

/** Paths of PEM files. */
export interface TlsFiles {
  readonly key: string
  readonly cert: string
  readonly passphrase: string | undefined
}

/** What `tls.createSecureContext` takes. */
export interface TlsPair {
  readonly key: string
  readonly cert: string
  readonly passphrase?: string
}

const MIN_RSA_BITS = 2048
/** With keys of other curves clients of TLS 1.2 and 1.3 have no signature in common (RFC 8446, section 4.2.3). */
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1']
/** Extended key usages: serverAuth and any (RFC 5280, section 4.2.1.12). */
const FOR_SERVERS = ['1.3.6.1.5.5.7.3.1', '2.5.29.37.0']

/**
 * Reads and checks the key and the certificate chain of a TLS server. The chain begins with the server's certificate, and
 * each further certificate issued the one before it. One file may hold both: give it twice.
 *
 * @param prefix - what the options begin with: `--` for `--key`, `--cert` and `--key-passphrase`.
 * @param warn - receives a sentence for each certificate that clients refuse now: expired, not yet valid, not for servers.
 * @throws Error `ERR_OPTION`: a file cannot be used, or the two do not belong together.
 * @example
 * const pair = readTlsFiles({ key, cert, passphrase }, '--audit-', warning => log.warn(warning))
 * const server = createServer(pair)
 */
export function readTlsFiles(
  { key: keyPath, cert: certPath, passphrase }: TlsFiles,
  prefix: string,
  warn: (warning: string) => void,
): TlsPair {
  const keyPem = readPem(`${prefix}key`, keyPath)
  const certPem = readPem(`${prefix}cert`, certPath)
  if (holdsOnly(keyPem, 'a certificate') && holdsOnly(certPem, 'a private key'))
    throw optionError(`${keyPem.name} holds a certificate and ${certPem.name} a private key; swap them`)
  const { pem, key } = privateKeyIn(keyPem, { option: `${prefix}key-passphrase`, value: passphrase })
  const chain = certificatesIn(certPem)
  const unfit = unfitnessOf(key)
  if (unfit !== undefined) throw optionError(`${keyPem.name} is ${unfit}`)
  checkPair(keyPem.name, key, certPem.name, chain)
  const pair = {
    key: pem,
    cert: chain.map(certificate => certificate.toString()).join(''),
    ...(passphrase !== undefined && { passphrase }),
  }
  try {
    createSecureContext(pair)
  } catch (error) {
    throw optionError(`${keyPem.name} and ${certPem.name} cannot be used for TLS: ${(error as Error).message}`, error)
  }
  warnOf(certPem.name, chain, warn)
  const [{ keyUsage }] = chain as [X509Certificate]
  if (keyUsage !== undefined && !keyUsage.some(usage => FOR_SERVERS.includes(usage)))
    warn(`${certPem.name} is not for servers: its extended key usage lacks serverAuth; clients refuse it`)
  return pair
}

/**
 * The certificates, in PEM format, of the authorities that the certificates of peers are checked against.
 *
 * @param warn - receives a sentence for each certificate that is expired or not yet valid.
 * @throws Error `ERR_OPTION`: the file cannot be used, or none of its certificates can verify another.
 * @example
 * const ca = readAuthorities('--audit-ca', path, warning => log.warn(warning))
 */
export function readAuthorities(option: string, path: string, warn: (warning: string) => void): string[] {
  const pem = readPem(option, path)
  const certificates = certificatesIn(pem)
  // A certificate that is signed with its own key is trusted as it is.
  if (!certificates.some(certificate => certificate.ca || certificate.checkIssued(certificate)))
    throw optionError(
      `${pem.name} holds no certificate of an authority: ${nameOf(certificates[0]!)} cannot sign others`,
    )
  warnOf(pem.name, certificates, warn)
  // As they are: a TRUSTED CERTIFICATE may restrict what it is trusted for.
  return certificateBlocks(pem).map(({ text }) => text)
}

function checkPair(keyName: string, key: KeyObject, certName: string, chain: readonly X509Certificate[]): void {
  const own = chain.findIndex(certificate => certificate.checkPrivateKey(key))
  if (own < 0) throw optionError(`${keyName} does not belong to ${certName}, the certificate of ${nameOf(chain[0]!)}`)
  if (own > 0)
    throw optionError(
      `${certName} begins with the certificate of ${nameOf(chain[0]!)}; put the one of ${nameOf(chain[own]!)} first, whose key is ${keyName}`,
    )
  for (const [i, issuer] of chain.entries()) {
    const issued = chain[i - 1]
    // Names are not enough: an authority may have changed its key.
    if (issued !== undefined && !(issued.checkIssued(issuer) && issued.verify(issuer.publicKey)))
      throw optionError(
        `${certName}: certificate ${i + 1} (${nameOf(issuer)}) did not issue certificate ${i} (${nameOf(issued)}); put each certificate before its issuer`,
      )
  }
}

/** Why no handshake would succeed with the key; `undefined`: it is fit. */
function unfitnessOf({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): string | undefined {
  switch (type) {
    case 'rsa':
    case 'rsa-pss': {
      const bits = details?.modulusLength ?? 0
      return bits < MIN_RSA_BITS ? `an RSA key of ${bits} bits; TLS needs ${MIN_RSA_BITS} or more` : undefined
    }
    case 'ec':
      return CURVES.includes(String(details?.namedCurve))
        ? undefined
        : `a key of the curve ${details?.namedCurve}; TLS takes ${CURVES.join(', ')}`
    case 'ed25519':
    case 'ed448':
      return undefined
    default:
      return `a key of the algorithm ${type}; TLS takes RSA, EC and Ed25519`
  }
}

function warnOf(name: string, certificates: readonly X509Certificate[], warn: (warning: string) => void): void {
  for (const certificate of certificates) {
    const [from, to] = [new Date(certificate.validFrom), new Date(certificate.validTo)]
    if (to.getTime() < Date.now())
      warn(`${name}: the certificate of ${nameOf(certificate)} expired at ${to.toISOString()}; peers refuse it`)
    else if (from.getTime() > Date.now())
      warn(`${name}: the certificate of ${nameOf(certificate)} is not valid before ${from.toISOString()}`)
  }
}

/** On one line, whatever it contains. */
function nameOf({ subject, subjectAltName, serialNumber }: X509Certificate): string {
  return JSON.stringify((subject || subjectAltName || serialNumber).replaceAll('\n', ', '))
}
