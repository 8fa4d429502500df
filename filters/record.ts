import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { ChannelEvent, Client, Closed, Host, Message, OptionSpecs, Payload, Publication } from 'filtered-websocket'
import { mayHoldSecret, optionError, payloadField, redactor } from 'filtered-websocket/kit'
import { RecordingFile } from './record/recording-file.ts'

export const describe = 'Record what clients send, for fws-server run and replay'

/** Sees the clients of all paths, at any place in the chain. */
export const stage = 'observer'

export const options = {
  'record-file': {
    type: 'string',
    normalize: true,
    describe: 'File of the recording, created with mode 0600; an existing recording goes on',
  },
  'record-max-bytes': {
    type: 'number',
    default: 67_108_864,
    min: 65_536,
    integer: true,
    describe: 'Bytes of a file, after which it becomes FILE.1, FILE.1 becomes FILE.2 and so on',
  },
  'record-files': {
    type: 'number',
    default: 5,
    min: 1,
    max: 1000,
    integer: true,
    describe: 'Number of files, after which the oldest one is deleted',
  },
  'record-max-buffered': {
    type: 'number',
    default: 16_777_216,
    min: 65_536,
    integer: true,
    describe: 'Bytes that may wait for the disk; beyond, recording stops',
  },
  'record-redact': {
    type: 'array',
    default: [],
    describe:
      'Names of JSON fields, query parameters and headers whose values are not recorded, in addition to those that hold secrets, such as token',
  },
} as const satisfies OptionSpecs

/** Headers that only the connection needs; the offered subprotocols have their own field. */
const OF_CONNECTION = /^(?:connection|upgrade|sec-websocket-.*)$/
const REDACTED = '[redacted]'

/** Appends every event as a line of JSON. A disk that is slow or full ends the recording, not the server. */
export const setup = ({ options: chosen, log }: Host<typeof options>) => {
  const path = chosen['record-file']
  if (path === undefined) throw optionError('--record-file is needed, such as --record-file recording.jsonl')
  const redact = redactor(chosen['record-redact'])
  const isSecret = mayHoldSecret(chosen['record-redact'])
  let file: RecordingFile | undefined

  const add = (event: object) => file?.add(`${JSON.stringify(event)}\n`)
  const redacted = <T extends object>(fields: T): T => JSON.parse(redact(JSON.stringify(fields)))
  const field = (payload: Payload) => {
    if (typeof payload === 'string') return payloadField(redact(payload))
    return isSecret(payload) ? { redacted: true } : payloadField(payload)
  }

  return {
    async start(): Promise<void> {
      file = await RecordingFile.open({
        path,
        maxBytes: chosen['record-max-bytes'],
        files: chosen['record-files'],
        maxBuffered: chosen['record-max-buffered'],
        onFail: error => log.error({ err: error, file: path }, 'recording has stopped; the server goes on'),
      })
    },
    stop: () => file?.close(),

    connect({ id, remote, identity, handshake }: Client): void {
      const { kind, url, headers, protocols } = handshake!
      const request = redacted({
        url: url.pathname + url.search,
        protocols: withoutBearer(protocols),
        headers: ofRequest(headers),
      })
      add({
        event: 'connect',
        at: Date.now(),
        client: id,
        remote,
        ...(kind !== 'websocket' && { kind }),
        ...request,
        identity,
      })
    },
    open: ({ id, transport, remote, identity }: Client): void =>
      add({ event: 'open', at: Date.now(), client: id, transport, remote, identity }),
    message: (payload: Payload, { id }: Client, { at }: Message): void =>
      add({ event: 'message', at, client: id, ...field(payload) }),
    disconnect: ({ id }: Client, { code, reason, clean }: Closed): void =>
      add({ event: 'disconnect', at: Date.now(), client: id, code, reason: redact(reason), clean }),
    consumer: ({ channel, payload }: ChannelEvent): void =>
      add({ event: 'consumer', at: Date.now(), channel, ...field(payload) }),
    publish: ({ topic, payload }: Publication, from: Client | undefined): void =>
      add({ event: 'publish', at: Date.now(), client: from?.id, topic, ...field(payload) }),
    request({ method, url = '/', headers, socket }: IncomingMessage): void {
      const request = redacted({ method, url, headers: ofRequest(headers) })
      add({ event: 'request', at: Date.now(), remote: socket.remoteAddress, ...request })
    },
  }
}

/** The subprotocol behind `bearer` is a token, in any form. */
function withoutBearer(protocols: readonly string[]): readonly string[] {
  return protocols.map((name, i) => (protocols[i - 1]?.toLowerCase() === 'bearer' ? REDACTED : name))
}

function ofRequest(headers: IncomingHttpHeaders): Record<string, string> {
  const kept = Object.entries(headers).filter(([name]) => !OF_CONNECTION.test(name))
  return Object.fromEntries(kept.map(([name, value]) => [name, String(value)]))
}
