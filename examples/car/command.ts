import { Ajv, type ErrorObject } from 'ajv'
import type { Payload } from 'filtered-websocket'

/** A command for the car. */
export interface Command {
  /** Direction nibble and speed nibble. */
  readonly byte: number
  /** Time until the car stops. */
  readonly seconds: number
  /** Whether the car stops and starts again from the middle of the field. */
  readonly isReset: boolean
}

/** Reason why a message is not a command, as one sentence. */
export interface Invalid {
  readonly error: string
}

const DIRECTIONS = { stop: 0, reset: 0, up: 1, down: 2, left: 3, right: 4 } as const
/** Characters of a message that are quoted in an error. */
const MAX_SHOWN = 60

/**
 * Makes a reader of `{"command": "up", "duration": 2}` and `{"command": "raw", "data": 22}`.
 *
 * @param speed - speed nibble of commands other than `raw`.
 * @param maxSeconds - maximum and default duration.
 */
export function commandReader(speed: number, maxSeconds: number): (payload: Payload) => Command | Invalid {
  const properties = {
    command: {
      enum: [...Object.keys(DIRECTIONS), 'raw'],
      description: 'up, down, left, right, stop, reset or raw',
    },
    duration: {
      type: 'number',
      exclusiveMinimum: 0,
      maximum: maxSeconds,
      description: `seconds above 0, up to ${maxSeconds}`,
    },
    data: {
      type: 'integer',
      minimum: 0,
      maximum: 0x8f,
      description: 'a byte from 0 to 143 (0x8f), direction and speed',
    },
  } as const
  const check = new Ajv().compile<{ command: keyof typeof DIRECTIONS | 'raw'; duration?: number; data?: number }>({
    type: 'object',
    properties,
    required: ['command'],
    additionalProperties: false,
    if: { properties: { command: { const: 'raw' } }, required: ['command'] },
    // biome-ignore lint/suspicious/noThenProperty: keyword of JSON Schema
    then: { required: ['data'] },
  })

  function sentence({ keyword, instancePath, params }: ErrorObject, value: unknown, text: string): string {
    const describe = (name: string) => properties[name as keyof typeof properties].description
    if (keyword === 'required') return `${params.missingProperty} is missing: ${describe(params.missingProperty)}`
    if (keyword === 'additionalProperties')
      return `${shown(params.additionalProperty)} is none of ${Object.keys(properties).join(', ')}`
    if (instancePath === '') return `a command is an object such as {"command": "up"}, received ${cut(text)}`
    const name = instancePath.slice(1)
    return `${name} takes ${describe(name)}, received ${shown((value as Record<string, unknown>)[name])}`
  }

  return payload => {
    if (typeof payload !== 'string') return { error: `a command is a string, received ${payload.length} binary bytes` }
    let value: unknown
    try {
      value = JSON.parse(payload)
    } catch {
      return { error: `a command is JSON, received ${shown(payload)}` }
    }
    if (!check(value)) return { error: sentence(check.errors![0]!, value, payload) }
    const { command, duration: seconds = maxSeconds, data } = value
    const byte = command === 'raw' ? data! : DIRECTIONS[command] === 0 ? 0 : (DIRECTIONS[command] << 4) | speed
    return { byte, seconds, isReset: command === 'reset' }
  }
}

/** Objects and arrays are not quoted, as they may be nested deeply. */
function shown(value: unknown): string {
  if (typeof value === 'string') return cut(JSON.stringify(value))
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return String(value)
}

function cut(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
}
