import { appendFileSync } from 'node:fs'
import type { Host } from 'filtered-websocket'
import type { Args, Delivery } from 'filtered-websocket/filters/messaging'

/** Milliseconds from the log record to the response. */
const WORK = 20
const PEER = 'copter1'
/** Milliseconds for a response, including reconnects of the peer. */
const TIMEOUT = 60_000

export const uses = ['messaging']

export const options = {
  'numbered-log': { type: 'string', default: '', describe: 'Log file of all processes' },
  'numbered-rate': {
    type: 'number',
    default: 0,
    describe: 'Requests per second to the peer, and as many actions; 0 disables',
  },
} as const

/** Logs the messages that it handles, and sends numbered messages to a peer. The log outlives this process. */
export const setup = ({ options: chosen, use, every }: Host<typeof options>) => {
  const messaging = use('messaging')
  let count = 0
  let isResting = false

  function record(...what: readonly unknown[]): void {
    appendFileSync(chosen['numbered-log'], `${JSON.stringify([Date.now(), process.pid, ...what])}\n`)
  }

  async function work(kind: string, [n]: Args, { repeated }: Delivery): Promise<unknown> {
    record('done', kind, n, repeated)
    await new Promise(resolve => setTimeout(resolve, WORK))
    record('worked', kind, n)
    return n
  }

  function send(kind: string, begin: (n: string) => Promise<unknown>): void {
    const n = `${process.pid}.${++count}`
    record('said', kind, n)
    begin(n).then(
      () => record('answered', kind, n),
      error => record('failed', kind, n, error.code),
    )
  }

  messaging.request('call', (_client, args, _kwargs, delivery) => work('call', args, delivery))
  messaging.action('deliver', (_client, args, _kwargs, delivery) => work('deliver', args, delivery))
  messaging.action('rest', () => {
    isResting = true
  })

  return {
    start() {
      if (chosen['numbered-rate'] === 0) return
      every(1000 / chosen['numbered-rate'], () => {
        if (isResting) return
        const peer = messaging.peer(PEER)
        send('emit', n => peer.emit('emit', [n]))
        send('ask', n => peer.call('ask', [n], {}, { timeout: TIMEOUT }))
      })
    },
  }
}
