import { type KeyObject, randomBytes } from 'node:crypto'
import type { OptionSpecs, OptionValues } from 'filtered-websocket'
import { commandError, optionError, privateKeyIn, readPem } from 'filtered-websocket/kit'
import jwt, { type Algorithm } from 'jsonwebtoken'
import { isEdDsa, signedByEdDsa } from './eddsa.ts'
import { keySourceOf, pinned, requireAlgorithms, secretSource } from './keys.ts'
import type { JwtOptions } from './options.ts'
import { Refused } from './refusal.ts'
import { readRequired } from './required.ts'
import { verifierOf } from './verify.ts'

export const describe = 'Sign a token for development, or check one'

export const usage = `fws-server token [--sub NAME] [--expires SECONDS] [--claim NAME=VALUE...]
fws-server token --check TOKEN

Signs a token for development, or checks one, with the options of filter jwt.`

export const options = {
  check: {
    type: 'boolean',
    // Hides a token that is passed as its value.
    secret: true,
    default: false,
    describe: 'Print the claims of the token, or why it is refused. - reads it from standard input',
  },
  sub: { type: 'string', describe: 'Subject of the token' },
  expires: { type: 'number', default: 3600, min: 1, integer: true, describe: 'Seconds until the token expires' },
  claim: { type: 'array', default: [], describe: 'Claim, NAME=VALUE. VALUE is parsed as JSON if possible' },
  'private-key': {
    type: 'string',
    normalize: true,
    describe: 'Private key to sign with, instead of --jwt-secret, PEM file',
  },
  kid: { type: 'string', describe: 'Key id in the header of the token' },
} as const satisfies OptionSpecs

type TokenOptions = OptionValues<typeof options> & JwtOptions

interface Input {
  readonly options: TokenOptions
  readonly words: readonly string[]
  readonly streams: { readonly stdin?: AsyncIterable<Buffer | string> | undefined }
}

/** Returns the output: a signed token, or the claims of a checked one. */
export async function run({ options: chosen, words, streams }: Input): Promise<string> {
  const [word, ...more] = words
  // Not shown: it may be a token or a part of a secret.
  if ((chosen.check ? more[0] : word) !== undefined)
    throw optionError('unexpected word; put a token after --check, and quote values that have spaces')
  if (!chosen.check) return signed(chosen)
  if (word === undefined) throw optionError('--check needs a token, or - to read it from standard input')
  return checked(word === '-' ? await readToken(streams.stdin, chosen['jwt-max-token']) : word, chosen)
}

function signed(chosen: TokenOptions): string {
  const { key, algorithm } = signingKey(chosen)
  const [issuer] = chosen['jwt-issuer']
  const [audience] = chosen['jwt-audience']
  const claims = {
    ...(chosen.sub !== undefined && { sub: chosen.sub }),
    ...(issuer !== undefined && { iss: issuer }),
    ...(audience !== undefined && { aud: audience }),
    ...Object.fromEntries(chosen['jwt-require'].map(readRequired).map(({ name, values }) => [name, values[0]])),
    exp: Math.floor(Date.now() / 1000) + chosen.expires,
    ...Object.fromEntries(chosen.claim.map(claimIn)),
  }
  try {
    if (isEdDsa(algorithm))
      return signedByEdDsa(jwt.sign(claims, randomBytes(32)), { alg: algorithm, kid: chosen.kid }, key)
    const { kid: keyid } = chosen
    return jwt.sign(claims, key, { algorithm: algorithm as Algorithm, ...(keyid !== undefined && { keyid }) })
  } catch (error) {
    throw optionError(`cannot sign the token: ${(error as Error).message}`)
  }
}

function signingKey(chosen: TokenOptions): { readonly key: KeyObject; readonly algorithm: string } {
  const { 'jwt-secret': secret, 'private-key': file, 'jwt-algorithms': algorithms } = chosen
  if ((secret === undefined) === (file === undefined)) {
    throw optionError(`set one of --jwt-secret and --private-key, received ${secret === undefined ? 'none' : 'both'}`)
  }
  if (secret !== undefined) {
    const { algorithms: usable, key } = secretSource(secret, algorithms)
    return { key, algorithm: usable[0]! }
  }
  const pem = readPem('--private-key', file!)
  const { key } = privateKeyIn(pem)
  const possible = requireAlgorithms(pem.name, key)
  return { key, algorithm: pinned('this private key', algorithms, possible.slice(0, 1), possible)[0]! }
}

async function checked(token: string, chosen: TokenOptions): Promise<string> {
  let cause = ''
  const keys = await keySourceOf(chosen, error => {
    cause = `: ${(error as Error).message}`
  })
  try {
    const { claims } = await verifierOf(chosen, keys)(token)
    return JSON.stringify(claims, null, 2)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    throw commandError(`${error.message}${error.isUnavailable ? cause : ''}`)
  }
}

function claimIn(text: string): readonly [string, unknown] {
  const [, name, value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? []
  if (name === undefined) throw optionError('--claim takes NAME=VALUE, received a value without "="')
  try {
    return [name, JSON.parse(value)]
  } catch {
    return [name, value]
  }
}

async function readToken(stdin: Input['streams']['stdin'], maxLength: number): Promise<string> {
  let text = ''
  for await (const chunk of stdin ?? []) {
    text += chunk
    if (text.length > maxLength + 1) break
  }
  return text.trim()
}
