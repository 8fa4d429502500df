/** Close codes of the server and those of the protocol. A line with a reason applies only to that reason; the first match counts. */
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

/** The code and the reason of a Close frame. Clients reconnect after the codes that are not listed. */
export function closing(code: number, reason: string): { readonly code: number; readonly reason: string } {
  const stated = STATED.find(([of, why]) => of === code && (why === undefined || why === reason))
  return { code: stated?.[2] ?? code, reason: isJson(reason) ? `reason: ${reason}` : reason }
}

/** Official clients read a reason in JSON as an instruction, and may not reconnect. */
function isJson(reason: string): boolean {
  try {
    JSON.parse(reason)
    return true
  } catch {
    return false
  }
}
