import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto'
import { optionError } from './option-error.ts'
import { readRegularBytes } from './regular-file.ts'

interface PemBlock {
  readonly label: string
  readonly text: string
}

/** The blocks of a PEM file (RFC 7468), at least one. */
export interface Pem {
  /** Option and path, as errors name the file: `--key /etc/key.pem`. */
  readonly name: string
  readonly blocks: readonly PemBlock[]
}

/** A private key: its PEM block, and parsed. */
export interface PrivateKey {
  readonly pem: string
  readonly key: KeyObject
}

/** A passphrase, and the option that takes one. */
export interface Passphrase {
  readonly option: string
  readonly value: string | undefined
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----((?:(?!-----).)*)-----END \1-----/gs
const CERTIFICATE = /^(?:TRUSTED |X509 )?CERTIFICATE$/
const PRIVATE_KEY = /^(?!OPENSSH )(?:[A-Z0-9]+ )*PRIVATE KEY$/
const NOUNS: readonly (readonly [RegExp, string])[] = [
  [CERTIFICATE, 'a certificate'],
  [PRIVATE_KEY, 'a private key'],
  [/^OPENSSH PRIVATE KEY$/, 'a private key in OpenSSH format'],
  [/PUBLIC KEY$/, 'a public key'],
  [/CERTIFICATE REQUEST$/, 'a certificate request'],
  [/^(?:PKCS7|CMS)$/, 'a PKCS#7 container'],
]
/** What to do with a file that holds something else. */
const ADVICE: ReadonlyMap<string, string> = new Map([
  ['a private key in OpenSSH format', '; convert a copy with: ssh-keygen -p -m PEM -f FILE'],
  ['a certificate request', '; an authority issues the certificate for it'],
  ['a PKCS#7 container', '; convert it with: openssl pkcs7 -print_certs -in FILE -out FILE.pem'],
])

/** DER: a sequence with its length, and what it begins with. */
const SEQUENCE = String.raw`^0(?:[\x00-\x80]|\x81.|\x82..|\x83...)`
const PKCS12 = new RegExp(String.raw`${SEQUENCE}\x02\x01\x03`, 's')
const PKCS7 = new RegExp(String.raw`${SEQUENCE}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02`, 's')

/**
 * Reads a PEM file. A byte order mark, any line breaks, indented lines and text around the blocks are accepted.
 *
 * @param option - the option that names the file, such as `--key`.
 * @throws Error `ERR_OPTION`: the file cannot be read, is empty or incomplete, or has another format.
 * @example
 * const pem = readPem('--audit-cert', path)
 */
export function readPem(option: string, path: string): Pem {
  const name = `${option} ${path}`
  const bytes = bytesOf(name, path)
  if (isUtf16(bytes)) throw optionError(`${name} is encoded as UTF-16; save it as UTF-8`)
  const text = bytes.toString('utf8')
  if (text.trim() === '') throw optionError(`${name} is empty`)
  const blocks = Array.from(text.matchAll(BLOCK), ([block, label]) => ({ label: label!, text: withoutIndent(block) }))
  if (text.split('-----BEGIN ').length - 1 !== blocks.length)
    throw optionError(`${name} is incomplete: a PEM block has no END line; copy the file again`)
  if (blocks.length === 0) throw optionError(`${name} ${formatOf(bytes)}`)
  return { name, blocks }
}

/**
 * The certificates of a PEM file, at least one, in their order.
 *
 * @throws Error `ERR_OPTION`: the file holds no certificate, or a damaged one.
 * @example
 * const [leaf] = certificatesIn(readPem('--audit-cert', path))
 */
export function certificatesIn(pem: Pem): readonly X509Certificate[] {
  const found = certificateBlocks(pem)
  if (found.length === 0) throw wrongContent(pem, 'a certificate')
  return found.map(({ text }, i) => {
    try {
      return new X509Certificate(text)
    } catch {
      throw optionError(`${pem.name}: certificate ${i + 1} of ${found.length} is damaged; copy the file again`)
    }
  })
}

/** The blocks that `certificatesIn` reads. */
export function certificateBlocks({ blocks }: Pem): readonly PemBlock[] {
  return blocks.filter(({ label }) => CERTIFICATE.test(label))
}

/**
 * The private key of a PEM file.
 *
 * @param passphrase - for an encrypted key; without it, encrypted keys are refused.
 * @throws Error `ERR_OPTION`: the file holds no private key, several, a damaged one, or one that the passphrase does not decrypt.
 * @example
 * const { key } = privateKeyIn(readPem('--audit-key', path), { option: '--audit-passphrase', value: passphrase })
 */
export function privateKeyIn(pem: Pem, passphrase?: Passphrase): PrivateKey {
  const [found, ...others] = pem.blocks.filter(({ label }) => PRIVATE_KEY.test(label))
  if (found === undefined) throw wrongContent(pem, 'a private key')
  if (others.length > 0) throw optionError(`${pem.name} holds ${1 + others.length} private keys; keep one`)
  const isEncrypted = found.label.startsWith('ENCRYPTED ') || /^Proc-Type: 4,ENCRYPTED$/m.test(found.text)
  if (isEncrypted && passphrase?.value === undefined) {
    const advice = passphrase ? `give ${passphrase.option}` : 'decrypt it with: openssl pkey -in FILE -out FILE.pem'
    throw optionError(`${pem.name} is encrypted; ${advice}`)
  }
  try {
    return { pem: found.text, key: createPrivateKey({ key: found.text, passphrase: passphrase?.value }) }
  } catch (error) {
    throw optionError(`${pem.name} ${isEncrypted ? undecrypted(error, passphrase!) : DAMAGED}`)
  }
}

/**
 * The public key of a PEM file: of its first public key or certificate.
 *
 * @throws Error `ERR_OPTION`: the file holds neither, a damaged one, or a private key.
 * @example
 * const key = publicKeyIn(readPem('--audit-public-key', path))
 */
export function publicKeyIn(pem: Pem): KeyObject {
  // Anyone who can read this file could sign.
  if (pem.blocks.some(({ label }) => /PRIVATE KEY$/.test(label)))
    throw optionError(`${pem.name} holds a private key; give only its public key: openssl pkey -in FILE -pubout`)
  const found = pem.blocks.find(({ label }) => /^(?:RSA )?PUBLIC KEY$/.test(label) || CERTIFICATE.test(label))
  if (found === undefined) throw wrongContent(pem, 'a public key')
  try {
    return createPublicKey(found.text)
  } catch {
    throw optionError(`${pem.name} holds a public key that is damaged or of an unknown algorithm`)
  }
}

/** Whether the file holds certificates and no private key, or the reverse. */
export function holdsOnly(pem: Pem, what: 'a certificate' | 'a private key'): boolean {
  return contentOf(pem) === what
}

const DAMAGED = 'holds a private key that is damaged or of an unknown algorithm'

function undecrypted(error: unknown, { option }: Passphrase): string {
  return (error as { code?: string }).code === 'ERR_OSSL_EVP_UNSUPPORTED'
    ? 'is encrypted with an outdated cipher; encrypt it again with: openssl pkcs8 -topk8 -provider legacy -provider default -in FILE -out FILE.pem'
    : `cannot be decrypted: ${option} is wrong, or the file is damaged`
}

function bytesOf(name: string, path: string): Buffer {
  try {
    return readRegularBytes(path)
  } catch (error) {
    throw optionError(`${name} cannot be read: ${(error as Error).message}`, error)
  }
}

function wrongContent(pem: Pem, wanted: string): Error {
  const content = contentOf(pem)
  const missing = content === `${wanted} in OpenSSH format` ? 'not in PEM format' : `not ${wanted}`
  return optionError(`${pem.name} holds ${content}, ${missing}${ADVICE.get(content) ?? ''}`)
}

function contentOf({ blocks }: Pem): string {
  const nouns = blocks.map(({ label }) => NOUNS.find(([pattern]) => pattern.test(label))?.[1] ?? `a block "${label}"`)
  return [...new Set(nouns)].join(' and ')
}

function formatOf(bytes: Buffer): string {
  const text = bytes.toString('latin1')
  if (PKCS12.test(text)) return 'is a PKCS#12 archive; convert it with: openssl pkcs12 -in FILE -out FILE.pem'
  if (PKCS7.test(text))
    return 'is a PKCS#7 container in DER format; convert it with: openssl pkcs7 -inform DER -print_certs -in FILE -out FILE.pem'
  if (!/^0.*[\0\x80-\xff]/s.test(text)) return 'is not in PEM format: it has no line "-----BEGIN ..."'
  return isCertificate(bytes)
    ? 'is a certificate in DER format; convert it with: openssl x509 -inform DER -in FILE -out FILE.pem'
    : 'is in DER format; convert a private key with: openssl pkey -inform DER -in FILE -out FILE.pem'
}

function isCertificate(bytes: Buffer): boolean {
  try {
    return new X509Certificate(bytes) !== undefined
  } catch {
    return false
  }
}

/** Editors of Windows write a byte order mark, redirections there may not. */
function isUtf16(bytes: Buffer): boolean {
  return /^(?:\xff\xfe|\xfe\xff|-\0|\0-)/.test(bytes.toString('latin1', 0, 2))
}

/** As a block in YAML is, which OpenSSL does not read. */
function withoutIndent(block: string): string {
  const lines = block.split(/\r\n|\r|\n/).map(line => line.trim())
  return `${lines.join('\n')}\n`
}
