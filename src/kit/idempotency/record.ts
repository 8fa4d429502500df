/** Characters of an outcome that stand in the record itself; a longer one has an attribute of its own. */
const MAX_INLINE = 1024
/** Characters of an outcome; a longer one is not kept. */
const MAX_OUTCOME = 65_536
/** Bytes of a record in addition to its strings, on this node and in a storage in this process. */
const OVERHEAD = 512

/** The record of request `n`. */
export interface RequestRecord {
  readonly n: number
  /**
   * `N @NODE`: begun, the node runs it. `N @`: begun, and no node runs it. `N =JSON`: done. `N +BYTES`: done, the outcome has an attribute
   * of its own. `N !`: done, the outcome is not kept.
   */
  readonly text: string
  readonly isDone: boolean
  /** The node that runs it. */
  readonly node: string | undefined
  /** The outcome, if it stands in the record. */
  readonly json: string | undefined
  /** Bytes of the outcome, if it has an attribute of its own. */
  readonly outcomeBytes: number
  /** Bytes of all. */
  readonly bytes: number
}

/** @param node - runs it. Default: no node does. */
export function begunRecord(n: number, node = ''): RequestRecord {
  return recordOf(n, '@', node)
}

/**
 * The record of a request that is done.
 *
 * @param json - `undefined`: the outcome is no JSON.
 * @param room - bytes that outcomes with attributes of their own may still have.
 */
export function doneRecord(n: number, json: string | undefined, room: number): RequestRecord {
  if (json === undefined || json.length > MAX_OUTCOME) return recordOf(n, '!', '')
  if (json.length <= MAX_INLINE) return recordOf(n, '=', json)
  const bytes = Buffer.byteLength(json)
  return bytes > room ? recordOf(n, '!', '') : recordOf(n, '+', String(bytes))
}

/** @throws Error: the string is no record. */
export function readRecord(text: string): RequestRecord {
  const [, n, kind, rest] = /^(\d+) ([@=+!])(.*)$/s.exec(text) ?? []
  if (kind === undefined)
    throw new Error(
      `a record is "N @NODE", "N @", "N =JSON", "N +BYTES" or "N !", received ${JSON.stringify(text.slice(0, 40))}`,
    )
  return recordOf(Number(n), kind, rest!)
}

function recordOf(n: number, kind: string, rest: string): RequestRecord {
  const text = `${n} ${kind}${rest}`
  const outcomeBytes = kind === '+' ? Number(rest) : 0
  return {
    n,
    text,
    isDone: kind !== '@',
    node: kind === '@' && rest !== '' ? rest : undefined,
    json: kind === '=' ? rest : undefined,
    outcomeBytes,
    bytes: OVERHEAD + text.length + outcomeBytes,
  }
}
