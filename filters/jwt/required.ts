import { type Claims, claimStrings, optionError } from 'filtered-websocket/kit'

/** A claim that a token needs, with one of the values. */
export interface RequiredClaim {
  readonly name: string
  readonly values: readonly string[]
}

/** Parses `NAME=VALUE,VALUE`. @throws Error `ERR_OPTION` */
export function readRequired(text: string): RequiredClaim {
  const [, name, list = ''] = /^([^=]+)=(.+)$/s.exec(text) ?? []
  const values = list.split(',')
  if (name === undefined || values.includes(''))
    throw optionError(`--jwt-require takes NAME=VALUE, such as client_id=abc, received "${text}"`)
  return { name, values }
}

export function hasRequired(claims: Claims, { name, values }: RequiredClaim): boolean {
  const found = claimStrings(claims, name)
  return values.some(value => found.includes(value))
}
