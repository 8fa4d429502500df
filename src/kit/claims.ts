/** The claims of a token, or of another source of identity. */
export type Claims = Readonly<Record<string, unknown>>

/** Claims that may be one string of several values: RFC 8693, section 4.2, and its name in Microsoft Entra ID. */
const SPACE_SEPARATED = /(^|\.)(scope|scp)$/

/**
 * The value of a claim, which may be nested: `realm_access.roles`. A claim whose whole name has the dots comes first, as in
 * `https://example.com/roles`. `undefined` if it is missing; arrays and inherited properties are not followed.
 *
 * @example
 * claimAt({ realm_access: { roles: ['admin'] } }, 'realm_access.roles') // ['admin']
 */
export function claimAt(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    const outer = name.slice(0, dot)
    const value = Object.hasOwn(claims, outer) ? claims[outer] : undefined
    const found = isObject(value) ? claimAt(value, name.slice(dot + 1)) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

/** A claim as string; `undefined` if it is missing, empty, an array or an object. */
export function claimString(claims: Claims, name: string): string | undefined {
  return scalar(claimAt(claims, name))
}

/** The values of a claim: the entries of an array, the words of `scope` and `scp`, or its only value. */
export function claimStrings(claims: Claims, name: string): readonly string[] {
  const value = claimAt(claims, name)
  const values = typeof value === 'string' && SPACE_SEPARATED.test(name) ? value.split(' ') : [value].flat()
  return values.map(scalar).filter(text => text !== undefined)
}

function isObject(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `JSON.parse` rounds larger integers: two identities could become one. */
function scalar(value: unknown): string | undefined {
  if (typeof value === 'string') return value === '' ? undefined : value
  if (typeof value === 'number')
    return Number.isInteger(value) && !Number.isSafeInteger(value) ? undefined : String(value)
  return typeof value === 'boolean' ? String(value) : undefined
}
