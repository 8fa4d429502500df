import { type Client, type Codec, DROP, type Host, type JoinOptions } from 'filtered-websocket'

const TOPIC = 'room'
const SIZE = 100_000

export const options = {
  'kept-size': { type: 'number', default: SIZE, describe: 'Entries that the topic keeps' },
  'kept-away': {
    type: 'string',
    default: 'wait',
    choices: ['wait', 'refuse', 'live'],
    describe: 'Without the storage',
  },
  'kept-wait': { type: 'number', default: 15, describe: 'Seconds that an entry waits for the storage' },
} as const

/** `# EPOCH OFFSET PAYLOAD`, and `! EPOCH OFFSET REASON` for a loss; other messages as they are. */
const codec: Codec = {
  name: 'positions',
  encode: (payload, _, about) =>
    about?.position === undefined ? payload : `# ${about.position.epoch} ${about.position.offset} ${payload}`,
  lost: ({ position: { epoch, offset } }, reason) => `! ${epoch} ${offset} ${reason}`,
}

/** Keeps one topic. Clients of the path `/room` join it at the position `?after=EPOCH+OFFSET`, and their messages go to it; `?` is answered with the number of entries that were not stored. */
export const setup = ({ options: chosen }: Host<typeof options>) => ({
  retain: (topic: string) =>
    topic === TOPIC
      ? {
          size: chosen['kept-size'],
          ttlMs: 600_000,
          full: 'trim' as const,
          away: chosen['kept-away'] as 'wait' | 'refuse' | 'live',
          waitMs: chosen['kept-wait'] * 1000,
        }
      : undefined,
  open: (client: Client) => {
    const { url } = client.handshake!
    if (url.pathname !== `/${TOPIC}`) return
    client.codec = codec
    const [epoch, offset] = (url.searchParams.get('after') ?? '').split(' ')
    const after: JoinOptions['after'] = epoch ? { epoch, offset: Number(offset) } : 'earliest'
    // A client that goes meanwhile does not join.
    client.join(TOPIC, { after }).catch(() => {})
  },
  message: (payload: string | Buffer, client: Client) => {
    if (client.handshake!.url.pathname !== `/${TOPIC}`) return undefined
    if (payload === '?') return client.answer(`unsent ${client.server.counters.streams.unsent}`)
    client.server.broadcast(payload, { topic: TOPIC })
    return DROP
  },
})
