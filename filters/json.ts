import type { Client, Drop, Host, Message, OptionSpecs, Payload } from 'filtered-websocket'
import { readJson } from 'filtered-websocket/kit'
import { checkOf } from './json/schema.ts'

declare module 'filtered-websocket' {
  interface MessageViews {
    /** The value of the message, parsed by filter `json`. */
    json?: unknown
  }
}

export const describe = 'Parse each message as JSON, and refuse others'

export const options = {
  'json-schema': {
    type: 'string',
    normalize: true,
    describe:
      'JSON Schema that messages must match, a file. Draft 2020-12; with its $schema also draft-07. Default: none',
  },
} as const satisfies OptionSpecs

/** Puts the parsed value on `message.json`; answers other messages with `{"error", "message"}`, and drops them. */
export const setup = async ({ options: { 'json-schema': schema }, limits }: Host<typeof options>) => {
  const check = schema === undefined ? () => undefined : await checkOf(schema)
  const bounds = { maxLength: limits['max-payload'] }

  function refuse(client: Client, error: string, message: string): Drop {
    client.sendJson({ error, message }, 'notice')
    return client.drop(error)
  }

  return {
    message(payload: Payload, client: Client, message: Message): Drop | undefined {
      if (typeof payload !== 'string') return refuse(client, 'not JSON', 'binary message; send JSON as text')
      try {
        message.json = readJson(payload, bounds)
      } catch (error) {
        // Too deep, or too many elements.
        if (error instanceof RangeError) return client.disconnect(1009, error.message)
        return refuse(client, 'not JSON', (error as Error).message)
      }
      const problem = check(message.json)
      return problem === undefined ? undefined : refuse(client, 'invalid JSON', problem)
    },
  }
}
