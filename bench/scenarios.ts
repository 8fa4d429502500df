// The scenarios. Each runs once per round and contestant, with its own servers.
import type { Contestant } from './contestants.ts'
import { deliveries, faults, inFlight, latencies, type Reading, type Scale, serve, throughput } from './measure.ts'
import { load, runScript, withLoad } from './processes.ts'

export interface Scenario {
  readonly about: string
  /** Contestants. Default: all. */
  readonly who?: readonly string[]
  run(contestant: Contestant, scale: Scale, round: number): Promise<readonly Reading[]>
}

export const scenarios: Readonly<Record<string, Scenario>> = {
  fanout: {
    about: 'one client sends to 1,000; closed loop',
    async run(contestant, scale, round) {
      const readings: Reading[] = []
      for (const size of scale.isFull ? [64, 1024] : [64]) {
        for (const kind of scale.isFull ? (['broadcast', 'everyone'] as const) : (['broadcast'] as const)) {
          const audience = kind === 'everyone' ? 'everyone' : 'others'
          const shape = { size, clients: scale.clients, rooms: 1, audience } as const
          const row = `${size} B, sender ${kind === 'everyone' ? 'included' : 'excluded'}`
          readings.push(...(await throughput(contestant, { kind }, shape, [1, 16, 64], row, scale, round)))
        }
      }
      return readings
    },
  },

  centrifuge: {
    about:
      '5,000 clients of the Centrifugal protocol on one channel, next to plain clients; the sender included; closed loop',
    who: ['ours', 'kept', 'centrifuge', 'centrifuge-kept'],
    run(contestant, scale, round) {
      const shape = { size: 64, clients: 5 * scale.clients, rooms: 1, audience: 'everyone' } as const
      return throughput(contestant, { kind: 'everyone' }, shape, [1, 16], '64 B', scale, round)
    },
  },

  rooms: {
    about: '1,000 clients in 100 rooms, one per room sends to the others; in flight per room',
    run(contestant, scale, round) {
      const shape = { size: 64, clients: scale.clients, rooms: scale.clients / 10, audience: 'others' } as const
      return throughput(contestant, { kind: 'rooms' }, shape, [1, 16], '64 B', scale, round)
    },
  },

  echo: {
    about: '100 clients, each gets its own messages; in flight per client',
    run(contestant, scale, round) {
      const clients = scale.clients / 10
      const shape = { size: 64, clients, rooms: clients, audience: 'everyone' } as const
      return throughput(contestant, { kind: 'echo' }, shape, [1, 16], '64 B', scale, round)
    },
  },

  latency: {
    about:
      '1,000 clients, broadcasts on a fixed schedule (open loop); from the due time of a message to each arrival, or to the end if it is lost',
    run(contestant, scale) {
      return serve(contestant, { kind: 'broadcast' }, scale, async (_, job) => {
        const readings: Reading[] = []
        for (const rate of scale.isFull ? [100, 1000] : [1000]) {
          const [measured] = await load({ ...job, check: true, size: 64, paces: [{ rate }] })
          const row = `${rate} a second`
          readings.push(...latencies(row, measured!), faults(row, measured!))
          // If it is below rate times clients, the server is overloaded, and the latencies are those of a growing queue.
          readings.push(...deliveries(`${row}, delivered`, measured!))
          readings.push({ row: `${row}, load itself late, p99`, unit: 'ms', value: measured!.late })
        }
        return readings
      })
    },
  },

  connect: {
    about:
      'handshakes per second, 64 at a time, with as many other clients open; for Socket.IO with its connect packets',
    run(contestant, scale) {
      return serve(contestant, { kind: 'broadcast' }, scale, async (_, job) => {
        const clients = { ...job, clients: 2 * scale.clients, paces: [] }
        // The first clients warm the server up, and stay, since it would be busy with their ends.
        const { opened, seconds, cpu } = await withLoad(clients, () => withLoad(clients, async load => load.opened))
        const row = `${opened} clients`
        const pattern = { clients: opened, size: 64, inflight: 0 }
        return [
          { row, unit: 'clients/s', value: opened / seconds, pattern },
          { row: `${row}, server CPU`, unit: 'µs a client', value: (1e6 * cpu.server!) / opened },
        ]
      })
    },
  },

  idle: {
    about: 'idle clients: memory in addition to the empty server, after garbage collections, as the servers report it',
    run(contestant, scale) {
      return serve(contestant, { kind: 'broadcast', collects: true }, scale, async (server, job) => {
        const empty = await server.memory()
        const full = await withLoad({ ...job, clients: scale.idleClients, paces: [] }, () => server.memory())
        const row = `${scale.idleClients.toLocaleString('en')} idle clients`
        return Object.entries({ heap: 'heapUsed', RSS: 'rss' } as const).flatMap(([name, key]): Reading[] => [
          { row: `empty server, ${name}`, unit: 'MiB', value: empty[key] / 2 ** 20 },
          { row: `${row}, ${name}`, unit: 'KiB a client', value: (full[key] - empty[key]) / scale.idleClients / 1024 },
        ])
      })
    },
  },

  chain: {
    about: 'pass-through filters: the cost of one message without sockets, and their share of a fan-out',
    who: ['ours'],
    async run(contestant, scale) {
      const nanoseconds = await runScript<Readonly<Record<string, number>>>('chain.ts')
      const readings: Reading[] = Object.entries(nanoseconds).map(([row, value]) => ({
        row,
        unit: 'ns a message',
        value,
      }))
      let without = 0
      for (const passing of [0, 1, 5, 10]) {
        const rate = await serve(contestant, { kind: 'broadcast', passing }, scale, async (_, job) => {
          const [measured] = await load({ ...job, paces: [{ inflight: 16 }] })
          return measured!.rate
        })
        if (passing === 0) without = rate
        else readings.push({ row: `${passing} filters, of fan-out`, unit: '%', value: 100 * (1 - rate / without) })
      }
      return readings
    },
  },

  deflate: {
    about: '1,000 clients with permessage-deflate, 1 KiB of JSON',
    async run(contestant, scale) {
      return serve(contestant, { kind: 'broadcast', deflate: true }, scale, async (_, job) => {
        const paces = [1, 16].map(inflight => ({ inflight }))
        const results = await load({ ...job, size: 1024, json: true, deflate: true, paces })
        return results.flatMap((measured, i): Reading[] => [
          ...deliveries(inFlight(paces[i]!, scale), measured),
          { row: `${inFlight(paces[i]!, scale)}, on the wire`, unit: 'bytes', value: measured.wireBytes },
        ])
      })
    },
  },

  'slow-client': {
    about:
      'one more client that never reads: latency of the 1,000 others at 50 messages of 8 KiB per second; then memory while 10 others receive at full speed',
    async run(contestant, scale) {
      const readings: Reading[] = []
      for (const stalled of [0, 1]) {
        const row = stalled === 0 ? 'without' : 'with one'
        await serve(contestant, { kind: 'broadcast' }, scale, async ({ url }, job) => {
          const seconds = 5 * scale.seconds
          const paced = { ...job, urls: [url], size: 8192, check: true, stalled, seconds, paces: [{ rate: 50 }] }
          const [measured] = await load(paced)
          readings.push(...latencies(row, measured!), faults(row, measured!))
        })
        await serve(contestant, { kind: 'broadcast', collects: true }, scale, async (server, job) => {
          const few = Math.min(10, scale.clients)
          const flood = { ...job, clients: few, size: 8192, stalled, paces: [{ inflight: 16 }] }
          const grown = await withLoad(flood, async ({ results }) => {
            const before = await server.memory()
            await results()
            return (await server.memory()).rss - before.rss
          })
          readings.push({ row: `${row}, memory grown by`, unit: 'MiB', value: grown / 2 ** 20 })
        })
      }
      return readings
    },
  },
}
