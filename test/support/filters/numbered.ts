import { appendFileSync } from 'node:fs'
import type { Host } from 'filtered-websocket'
import type { Args, Delivery } from 'filtered-websocket/filters/messaging'

/** Milliseconds of each thing to do: between its effect, which is the first, and its answer. */
const WORK = 20
const PEER = 'copter1'
/** Milliseconds for an answer, wherever the peer is meanwhile. */
const TIMEOUT = 15_000

export const uses = ['messaging']

export const options = {
  'numbered-log': { type: 'string', default: '', describe: 'file of what was said and done' },
  'numbered-rate': { type: 'number', default: 0, describe: 'actions, and requests, that the peer gets a second' },
} as const

/** Notes what peers have it do, and has one peer do numbered things; what is noted outlives this process. */
export const setup = ({ options: chosen, use, every }: Host<typeof options>) => {
  const messaging = use('messaging')
  let count = 0
  let isResting = false

  function note(...what: readonly unknown[]): void {
    appendFileSync(chosen['numbered-log'], `${JSON.stringify([Date.now(), process.pid, ...what])}\n`)
  }

  async function work(kind: string, [n]: Args, { repeated }: Delivery): Promise<unknown> {
    note('done', kind, n, repeated)
    await new Promise(resolve => setTimeout(resolve, WORK))
    return n
  }

  function say(kind: string, begin: (n: string) => Promise<unknown>): void {
    const n = `${process.pid}.${++count}`
    note('said', kind, n)
    begin(n).then(
      () => note('answered', kind, n),
      error => note('failed', kind, n, error.code),
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
        say('emit', n => peer.emit('emit', [n]))
        say('ask', n => peer.call('ask', [n], {}, { timeout: TIMEOUT }))
      })
    },
  }
}
