import type { Client, Payload } from 'filtered-websocket'
import { payloadField } from 'filtered-websocket/kit'

// The fields of events as JSON without braces, see docs/reference/exec.md.

/** @param names - header fields that the program gets, in lower case. */
export function connectBody(client: Client, names: readonly string[]): string {
  const all = client.handshake?.headers ?? {}
  const given = names.filter(name => all[name] !== undefined).map(name => [name, all[name]])
  return bodyOf({ ...aboutOf(client), ...(names.length > 0 && { headers: Object.fromEntries(given) }) })
}

export function openBody(client: Client): string {
  return bodyOf(aboutOf(client))
}

export function messageBody({ id }: Client, payload: Payload): string {
  const client = JSON.stringify(id)
  return typeof payload === 'string'
    ? `"client":${client},"data":${JSON.stringify(payload)}`
    : `"client":${client},"binary":"${payload.toString('base64')}"`
}

export function consumerBody(channel: string, payload: Payload): string {
  return bodyOf({ channel, ...payloadField(payload) })
}

/** Fields that are `undefined` are left out. */
export function bodyOf(fields: object): string {
  return JSON.stringify(fields).slice(1, -1)
}

function aboutOf({ id, remote, handshake, identity }: Client) {
  const url = handshake && handshake.url.pathname + handshake.url.search
  return { client: id, remote, url, identity }
}
