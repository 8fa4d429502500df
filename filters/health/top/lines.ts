import { visible } from 'filtered-websocket/kit'
import stringWidth from 'string-width'
import type { Rate, Rates } from './rates.ts'

/** Columns of a name of a client. */
const MAX_NAME = 40
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** Styles of a terminal; elsewhere they return the text. */
export interface Styles {
  heading(text: string): string
  /** Something that an operator should look at. */
  alarm(text: string): string
}

/** The lines of one view, without control characters. */
export function linesOf(origin: string, rates: Rates, { heading, alarm }: Styles): readonly string[] {
  const { totals, failing, filters, slowest, storage } = rates
  const state = failing.length === 0 ? 'ready' : alarm(`not ready: ${failing.map(nameOf).join(', ')}`)
  const load = `cpu ${Math.round(rates.cpu * 100)} %   memory ${bytes(rates.memory)}`
  const title = (text: string, rows: readonly string[]) => (rows.length === 0 ? [] : ['', heading(text), ...rows])
  const counted = (name: string, values: Readonly<Record<string, Rate>>) =>
    Object.entries(values)
      .filter(([, { total }]) => total > 0)
      .sort(([, a], [, b]) => b.perSecond - a.perSecond || b.total - a.total)
      .map(([label, { total, perSecond }]) => [
        name,
        nameOf(label),
        perSecondOf(perSecond),
        `${number(total)} in total`,
      ])
  const troubles = [
    ...counted('dropped', rates.drops),
    ...counted('refused', rates.refusals),
    ...counted('errors', { 'of filters': totals.errors }),
    ...counted('paused', { 'full mailbox': totals.paused }),
  ]

  return [
    `${heading(`fws-server ${origin}`)}   ${state}   up ${duration(rates.uptime)}   ${load}`,
    `clients   ${number(rates.clients)}   opened ${perSecondOf(totals.opened.perSecond)}   closed ${perSecondOf(totals.closed.perSecond)}`,
    `received  ${perSecondOf(totals.messages.perSecond)}   ${bytes(totals.bytesIn.perSecond)}/s`,
    `delivered ${perSecondOf(totals.deliveries.perSecond)}   ${bytes(totals.bytesOut.perSecond)}/s`,
    ...title('TROUBLE', table(troubles, '<<>>')),
    '',
    ...table(
      [
        ['#', 'FILTER', 'CHAIN', 'CALLS/S', 'TIME', 'TIME/S', 'REWRITTEN/S', 'DROPPED/S', 'FAILED/S'],
        ...filters
          .filter(({ calls }) => calls.total > 0)
          .map(({ filter, place, chain, calls, microseconds, rewritten, dropped, failed }) => [
            String(place),
            nameOf(filter),
            nameOf(chain),
            number(calls.perSecond),
            microseconds === null ? '-' : time(microseconds),
            microseconds === null ? '-' : time(microseconds * calls.perSecond),
            number(rewritten.perSecond),
            number(dropped.perSecond),
            number(failed.perSecond),
          ]),
      ],
      '><<>>>>>>',
    ).map((line, i) => (i === 0 ? heading(line) : line)),
    ...title(
      'SLOWEST CLIENTS',
      table(
        slowest.map(({ id, remote, identity = '', unsent }) => [
          `${bytes(unsent)} unsent`,
          nameOf(id),
          nameOf(remote),
          nameOf(identity),
        ]),
        '><<<',
      ),
    ),
    ...title(
      'STORAGE',
      table(
        Object.entries(storage).flatMap(([name, value]) => {
          if (typeof value === 'number') return [[nameOf(name), number(value), '']]
          return value.total === 0 ? [] : [[nameOf(name), number(value.total), perSecondOf(value.perSecond)]]
        }),
        '<>>',
      ),
    ),
  ]
}

/** Rows in columns. @param sides - `<` or `>` for each column. */
function table(rows: readonly (readonly string[])[], sides: string): readonly string[] {
  const widths = [...sides].map((_, i) => Math.max(0, ...rows.map(row => stringWidth(row[i]!))))
  return rows.map(row =>
    row
      .map((cell, i) => {
        const space = ' '.repeat(widths[i]! - stringWidth(cell))
        return sides[i] === '<' ? cell + space : space + cell
      })
      .join('  ')
      .trimEnd(),
  )
}

/** Text of a client or filter on one line. */
function nameOf(text: string): string {
  const shown = [...visible(text).replace(/[\t\n]/g, ' ')]
  return shown.length > MAX_NAME ? `${shown.slice(0, MAX_NAME - 1).join('')}…` : shown.join('')
}

function number(value: number): string {
  const digits = value > 0 && value < 10 && !Number.isInteger(value) ? 1 : 0
  return value.toLocaleString('en', { maximumFractionDigits: digits })
}

function perSecondOf(value: number): string {
  return `${number(value)}/s`
}

function bytes(value: number): string {
  let unit = 0
  let rest = value
  for (; rest >= 1024 && unit < UNITS.length - 1; unit++) rest /= 1024
  return `${number(rest)} ${UNITS[unit]}`
}

function time(microseconds: number): string {
  if (microseconds < 1000) return `${number(microseconds)} µs`
  const milliseconds = microseconds / 1000
  return milliseconds < 1000 ? `${number(milliseconds)} ms` : `${number(milliseconds / 1000)} s`
}

function duration(seconds: number): string {
  const [minutes, hours, days] = [60, 3600, 86_400].map(unit => Math.floor(seconds / unit)) as [number, number, number]
  if (days > 0) return `${days} d ${hours % 24} h`
  if (hours > 0) return `${hours} h ${minutes % 60} min`
  return minutes > 0 ? `${minutes} min` : `${Math.floor(seconds)} s`
}
