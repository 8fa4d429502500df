/** Close codes of the server in those of the protocol. With a reason: only for this one. */
const STATED: readonly (readonly [code: number, reason: string | undefined, stated: number])[] = [
  [1000, undefined, 3503],
  [1001, undefined, 3001],
  [1008, 'not admitted in time', 3502],
  [1008, 'rate limit', 3013],
  [1008, 'identity rate limit', 3013],
  [1008, undefined, 3507],
  [1013, 'too slow', 3008],
  [4401, 'token expired', 3005],
  [4401, undefined, 3500],
  [4403, undefined, 3500],
]

/** What a Close frame says. Clients reconnect after the codes that are not listed. */
export function closing(code: number, reason: string): { readonly code: number; readonly reason: string } {
  const stated = STATED.find(([of, why]) => of === code && (why === undefined || why === reason))
  return { code: stated?.[2] ?? code, reason: isJson(reason) ? `reason: ${reason}` : reason }
}

/** Such a reason ends a client for good, since it reads one as an instruction. */
function isJson(reason: string): boolean {
  try {
    JSON.parse(reason)
    return true
  } catch {
    return false
  }
}
