import type { Client, Payload } from '../../../src/index.ts'

/** Joins the topic that is the message. */
export function message(payload: Payload, client: Client): void {
  try {
    client.join(String(payload))
    client.send(`joined ${payload}`)
  } catch (error) {
    client.send((error as Error).message)
  }
}
