import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { FilterApis, Server } from 'filtered-websocket'
import { inSlices } from 'filtered-websocket/kit'
import { Counter, Gauge, Registry } from 'prom-client'

/** Milliseconds between samples of the event loop. */
const RESOLUTION = 20
const NANOSECONDS = 1e9
const STREAM_GAUGES: Readonly<Record<string, string>> = {
  waiting_bytes: 'bytes of entries that wait for the storage',
  tail_bytes: 'bytes of the entries in memory for returning clients',
  followed: 'kept topics with members on this node',
}

const PRESENCE_GAUGES = {
  topics: 'topics whose members are known, and that this node uses',
  members: 'memberships of clients of this node in these topics',
  waiting: 'joins and leaves that wait for the storage',
} as const

/** Metrics of a server for Prometheus. They read existing counters when scraped. */
export function metricsOf(server: Server, presence: FilterApis['presence'] | undefined) {
  const registry = new Registry()
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION })
  delay.enable()

  const total = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  const totals = <L extends string>(
    name: string,
    help: string,
    labelNames: L[],
    read: () => Iterable<[Record<L, string>, number]>,
  ) =>
    new Counter({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset()
        for (const [labels, value] of read()) this.inc(labels, value)
      },
    })
  const gauge = (name: string, help: string, read: () => number | Promise<number>) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        this.set(await read())
      },
    })
  const byLabel = <L extends string>(label: L, values: Readonly<Record<string, number>>) =>
    Object.entries(values).map(([key, value]): [Record<L, string>, number] => [
      { [label]: key } as Record<L, string>,
      value,
    ])

  const { counters } = server
  gauge('fws_ready', '1 if all checks of /readyz pass', () => Number(server.ready))
  new Gauge({
    name: 'fws_check',
    help: '1 if this check of /readyz passes',
    labelNames: ['check'],
    registers: [registry],
    collect() {
      for (const [check, isGood] of Object.entries(server.checks)) this.set({ check }, Number(isGood))
    },
  })
  gauge('fws_clients', 'open clients', () => server.clients.size)
  gauge('fws_outbox_bytes', 'bytes queued and not yet written to the operating system', async () => {
    let bytes = 0
    await inSlices(server.clients.values(), client => {
      bytes += client.buffered
    })
    return bytes
  })
  total('fws_opened_total', 'clients opened', () => counters.opened)
  totals('fws_closed_total', 'clients closed, by close code', ['code'], () => byLabel('code', counters.closes))
  totals('fws_refused_total', 'handshakes refused, by HTTP status', ['status'], () =>
    byLabel('status', counters.refusals),
  )
  totals('fws_tls_failures_total', 'TLS handshakes failed, by error code', ['code'], () =>
    byLabel('code', counters.tlsFailures),
  )
  total('fws_messages_received_total', 'messages from clients', () => counters.messages)
  total('fws_received_bytes_total', 'bytes in messages from clients', () => counters.bytesIn)
  total(
    'fws_deliveries_total',
    'messages written to sockets; a broadcast to n clients counts n',
    () => counters.deliveries,
  )
  total('fws_sent_bytes_total', 'bytes written to sockets, frame headers included', () => counters.bytesOut)
  totals('fws_drops_total', 'dropped messages, by reason', ['reason'], () => byLabel('reason', counters.drops))
  total('fws_errors_total', 'caught errors of filters, codecs and timers', () => counters.errors)
  total('fws_paused_total', 'pauses of a socket because its mailbox was full', () => counters.paused)
  total('fws_events_total', 'events of the storage channels', () => counters.events)
  total(
    'fws_stdout_dropped_bytes_total',
    'bytes of standard output dropped because they were not read in time',
    () => counters.stdoutDropped,
  )
  total('fws_nodes_sent_total', 'messages sent to the storage for other nodes', () => counters.nodesOut)
  total(
    'fws_nodes_unsent_total',
    'messages for other nodes that the storage refused or could not accept',
    () => counters.nodesUnsent,
  )
  total('fws_nodes_received_total', 'messages from other nodes', () => counters.nodesIn)
  total('fws_nodes_lost_total', 'messages of other nodes that did not arrive', () => counters.nodesLost)
  total('fws_nodes_refused_total', 'messages of other nodes that could not be decoded', () => counters.nodesRefused)
  const { streams } = counters
  total('fws_streams_appended_total', 'entries appended to kept topics', () => streams.appended)
  total('fws_streams_refused_total', 'entries refused because a kept topic is full', () => streams.refused)
  total('fws_streams_unsent_total', 'entries that the storage did not accept in time', () => streams.unsent)
  total('fws_streams_recovered_total', 'returning clients that got all they had missed', () => streams.recovered)
  total(
    'fws_streams_healed_total',
    'entries whose announcement did not arrive, and that were read',
    () => streams.healed,
  )
  total('fws_streams_reads_total', 'reads of kept topics', () => streams.reads)
  totals('fws_streams_lost_total', 'losses that clients were informed of, by reason', ['reason'], () =>
    byLabel('reason', streams.lost),
  )
  for (const name of Object.keys(server.streamGauges)) {
    gauge(`fws_streams_${name}`, STREAM_GAUGES[name] ?? 'of kept topics', () => server.streamGauges[name] ?? 0)
  }
  if (presence !== undefined)
    for (const [name, help] of Object.entries(PRESENCE_GAUGES))
      gauge(`fws_presence_${name}`, help, () => presence.gauges()[name as keyof typeof PRESENCE_GAUGES])
  totals(
    'fws_handler_calls_total',
    'calls of handlers, by outcome; passed includes running calls',
    ['chain', 'filter', 'place', 'outcome'],
    () =>
      server.handlers.flatMap(({ chain, filter, order, calls, rewritten, dropped, failed }) => {
        const passed = calls - rewritten - dropped - failed
        return Object.entries({ passed, rewritten, dropped, failed }).map(
          ([outcome, value]): [Record<'chain' | 'filter' | 'place' | 'outcome', string>, number] => [
            { chain, filter, place: String(order + 1), outcome },
            value,
          ],
        )
      }),
  )
  gauge('fws_event_loop_lag_seconds', 'longest delay of the event loop since the last scrape, seconds', () => {
    const longest = delay.max
    delay.reset()
    return Math.max(0, longest / NANOSECONDS - RESOLUTION / 1000)
  })
  gauge('fws_resident_memory_bytes', 'resident memory of the process, bytes', () => process.memoryUsage.rss())
  for (const name of Object.keys(server.storageMetrics)) {
    const make = name.endsWith('_total') ? total : gauge
    make(`fws_storage_${name}`, 'reported by the storage', () => server.storageMetrics[name] ?? 0)
  }

  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    stop: () => delay.disable(),
  }
}
