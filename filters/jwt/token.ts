import type { KeyObject } from 'node:crypto'
import type { OptionSpecs, OptionValues } from 'filtered-websocket'
import { optionError, privateKeyIn, readPem } from 'filtered-websocket/kit'
import jwt, { type Algorithm } from 'jsonwebtoken'
import { keySourceOf, pinned, requireAlgorithms, secretSource } from './keys.ts'
import type { JwtOptions } from './options.ts'
import { Refused } from './refused.ts'
import { verifierOf } from './verify.ts'

export const usage = `fws-server token [--sub NAME] [--expires SECONDS] [--claim NAME=VALUE...]
fws-server token --check TOKEN

Signs a token for development, or checks one, with the options of filter jwt.`

export const options = {
  check: {
    type: 'boolean',
    // A token that is given as its value is not shown.
    secret: true,
    default: false,
    describe: 'print what the given token says, or why it is refused; -: it is read from standard input',
  },
  sub: { type: 'string', describe: 'subject of the token' },
  expires: { type: 'number', default: 3600, min: 1, integer: true, describe: 'seconds until it expires' },
  claim: { type: 'array', default: [], describe: 'NAME=VALUE; a VALUE that is JSON is taken as that' },
  'private-key': { type: 'string', normalize: true, describe: 'key to sign with in place of --jwt-secret, PEM file' },
  kid: { type: 'string', describe: 'key id, for a key that is one of several' },
} as const satisfies OptionSpecs

type TokenOptions = OptionValues<typeof options> & JwtOptions

interface Input {
  readonly options: TokenOptions
  readonly words: readonly string[]
  readonly stdin: AsyncIterable<Buffer | string> | undefined
}

/** What is to be printed: a token, or the claims of one. */
export async function run({ options: chosen, words, stdin }: Input): Promise<string> {
  const [word, ...more] = words
  // Not shown: it may be a token, or the second half of a secret.
  if ((chosen.check ? more[0] : word) !== undefined)
    throw optionError('an unexpected word; a token follows --check, and a value that has blanks is quoted')
  if (!chosen.check) return signed(chosen)
  if (word === undefined) throw optionError('--check needs a token, or - to read it from standard input')
  return checked(word === '-' ? await readToken(stdin, chosen['jwt-max-token']) : word, chosen)
}

function signed(chosen: TokenOptions): string {
  const { key, algorithm } = signingKey(chosen)
  const [issuer] = chosen['jwt-issuer']
  const [audience] = chosen['jwt-audience']
  const claims = {
    ...(chosen.sub !== undefined && { sub: chosen.sub }),
    ...(issuer !== undefined && { iss: issuer }),
    ...(audience !== undefined && { aud: audience }),
    exp: Math.floor(Date.now() / 1000) + chosen.expires,
    ...Object.fromEntries(chosen.claim.map(claimIn)),
  }
  try {
    return jwt.sign(claims, key, { algorithm, ...(chosen.kid !== undefined && { keyid: chosen.kid }) })
  } catch (error) {
    throw optionError(`no such token can be signed: ${(error as Error).message}`)
  }
}

function signingKey(chosen: TokenOptions): { readonly key: KeyObject; readonly algorithm: Algorithm } {
  const { 'jwt-secret': secret, 'private-key': file, 'jwt-algorithms': algorithms } = chosen
  if ((secret === undefined) === (file === undefined)) {
    const given = secret === undefined ? 'none is given' : 'both are given'
    throw optionError(`a token is signed with --jwt-secret or with --private-key; ${given}`)
  }
  if (secret !== undefined) {
    const { algorithms: usable, key } = secretSource(secret, algorithms)
    return { key, algorithm: usable[0] as Algorithm }
  }
  const pem = readPem('--private-key', file!)
  const { key } = privateKeyIn(pem)
  const possible = requireAlgorithms(pem.name, key)
  return { key, algorithm: pinned('this private key', algorithms, possible.slice(0, 1), possible)[0] as Algorithm }
}

async function checked(token: string, chosen: TokenOptions): Promise<string> {
  let why = ''
  const keys = await keySourceOf(chosen, error => {
    why = `: ${(error as Error).message}`
  })
  try {
    const { claims } = await verifierOf(chosen, keys)(token)
    return JSON.stringify(claims, null, 2)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    throw Object.assign(new Error(`${error.message}${error.isOurs ? why : ''}`), { code: 'ERR_COMMAND' })
  }
}

function claimIn(text: string): readonly [string, unknown] {
  const [, name, value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? []
  if (name === undefined) throw optionError('--claim takes NAME=VALUE, received a word without "="')
  try {
    return [name, JSON.parse(value)]
  } catch {
    return [name, value]
  }
}

async function readToken(stdin: Input['stdin'], maxLength: number): Promise<string> {
  let text = ''
  for await (const chunk of stdin ?? []) {
    text += chunk
    if (text.length > maxLength + 1) break
  }
  return text.trim()
}
