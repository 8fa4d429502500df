/** Meters: x to the right, y away from the viewer, z upward. */
export interface Place {
  readonly x: number
  readonly y: number
  readonly z: number
}

/** The space for copters, in meters. */
export const FIELD = { width: 12, depth: 8, lowest: 0.5, highest: 4 } as const
/** Maximum speed in meters per second. */
export const TOP_SPEED = 2.5

const COLUMNS = ['t', 'x', 'y', 'z'] as const
const UNITS = ['s', 'm', 'm', 'm'] as const
const RANGES = [
  [0, 3600],
  [0, FIELD.width],
  [0, FIELD.depth],
  [FIELD.lowest, FIELD.highest],
] as const
const MAX_LINES = 10_000
/** Characters of a file that are quoted in an error. */
const MAX_SHOWN = 20

type Row = readonly [t: number, x: number, y: number, z: number]

/** A path that is flown in rounds. */
export interface Path {
  /** Duration of one round. */
  readonly seconds: number
  readonly points: readonly Place[]
  /** Target position at a time after the start. */
  at(seconds: number): Place
}

/**
 * Reads lines `t,x,y,z`: seconds from 0 upward, meters.
 *
 * @throws Error `path` with the number of the invalid line.
 */
export function readPath(text: string): Path {
  const [head, ...lines] = text.trim().split(/\r?\n/, MAX_LINES + 2)
  if (head?.replaceAll(' ', '') !== COLUMNS.join())
    throw invalid(1, `a path begins with "t,x,y,z", received ${shown(head ?? '')}`)
  if (lines.length > MAX_LINES) throw invalid(MAX_LINES + 2, `a path has at most ${MAX_LINES} points`)
  if (lines.length < 2) throw invalid(lines.length + 1, 'a path has at least two points')
  const rows = lines.map(rowIn)
  if (rows[0]![0] !== 0) throw invalid(2, `t begins at 0 s, received ${rows[0]![0]} s`)
  for (const [i, row] of rows.entries()) if (i > 0) checkStep(rows[i - 1]!, row, i + 2)
  return { seconds: rows.at(-1)![0], points: rows.map(placeOf), at: seconds => placeAt(rows, seconds) }
}

function rowIn(line: string, index: number): Row {
  const cells = line.split(',', COLUMNS.length + 1)
  if (cells.length !== COLUMNS.length) throw invalid(index + 2, `a point is t,x,y,z, received ${shown(line)}`)
  return cells.map((cell, i) => {
    const value = cell.trim() === '' ? Number.NaN : Number(cell)
    const [min, max] = RANGES[i]!
    if (!(value >= min && value <= max))
      throw invalid(index + 2, `${COLUMNS[i]} is a number from ${min} to ${max} ${UNITS[i]}, received ${shown(cell)}`)
    return value
  }) as unknown as Row
}

function checkStep(before: Row, row: Row, line: number): void {
  const seconds = row[0] - before[0]
  if (seconds <= 0) throw invalid(line, `t increases, received ${row[0]} s after ${before[0]} s`)
  const speed = Math.hypot(row[1] - before[1], row[2] - before[2], row[3] - before[3]) / seconds
  if (speed > TOP_SPEED)
    throw invalid(line, `${speed.toFixed(1)} m/s are needed, a copter flies at most ${TOP_SPEED} m/s`)
}

function placeAt(rows: readonly Row[], seconds: number): Place {
  const t = seconds % rows.at(-1)![0]
  let low = 0
  let high = rows.length - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (rows[middle]![0] <= t) low = middle
    else high = middle
  }
  const [from, to] = [rows[low]!, rows[high]!]
  const part = (t - from[0]) / (to[0] - from[0])
  const between = (i: 1 | 2 | 3) => from[i] + (to[i] - from[i]) * part
  return { x: between(1), y: between(2), z: between(3) }
}

function placeOf([, x, y, z]: Row): Place {
  return { x, y, z }
}

function invalid(line: number, reason: string): Error {
  return Object.assign(new Error(`line ${line}: ${reason}`), { code: 'path' })
}

function shown(text: string): string {
  return JSON.stringify(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text)
}
