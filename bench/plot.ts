// Draws docs/performance.svg with the speed relative to each other server, from the newest results or the given file. Colors of
// middle lightness without a background suit light and dark pages.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LESS } from './measure.ts'
import { newest, type Results, type Row, ratio } from './results.ts'

/** Scenario, row, and label. */
const HEADLINE = [
  ['fanout', '64 B, sender excluded, 1 in flight', 'fan-out to 1,000, 1 in flight'],
  ['fanout', '64 B, sender excluded, 16 in flight', 'fan-out, 16 in flight'],
  ['fanout', '64 B, sender excluded, 64 in flight', 'fan-out, 64 in flight'],
  ['rooms', '64 B, 1 in flight', '100 rooms of 10, 1 in flight'],
  ['rooms', '64 B, 16 in flight', '100 rooms, 16 in flight'],
  ['echo', '64 B, 16 in flight', 'echo, 16 in flight'],
  ['latency', '1000 a second, p99', 'p99 at 1,000 broadcasts/s'],
] as const
const OTHERS = [
  ['ws', 'ws', '#2f81f7'],
  ['socket.io', 'Socket.IO', '#bf8700'],
  ['bun', 'Bun', '#d6478c'],
] as const

const TEXT = '#7a828e'
const WIDTH = 760
/** Horizontal range of the scale. */
const [LEFT, RIGHT] = [230, WIDTH - 70]
const TOP = 64
const BAR = 11
const GROUP = OTHERS.length * (BAR + 2) + 14

function draw({ rows, versions, machine, date, rounds }: Results): string {
  const groups = HEADLINE.flatMap(([scenario, name, label]) => {
    const row = rows.find(row => row.scenario === scenario && row.row === name)
    return row === undefined ? [] : [{ label, times: OTHERS.map(([other]) => times(row, other)) }]
  })
  const all = groups.flatMap(group => group.times).filter(Number.isFinite)
  const [least, most] = [Math.min(0.5, ...all), Math.max(2, ...all) * 1.1]
  const x = (value: number) => LEFT + ((RIGHT - LEFT) * Math.log(value / least)) / Math.log(most / least)
  const bottom = TOP + groups.length * GROUP
  const parts: string[] = [text(0, 16, 'How many times as fast as the others, logarithmic', 'class="title"')]
  let legend = 0
  for (const [name, label, color] of OTHERS) {
    parts.push(`<rect x="${legend}" y="30" width="${BAR}" height="${BAR}" fill="${color}"/>`)
    const named = `against ${label} ${versions[name] ?? ''}`.trim()
    parts.push(text(legend + BAR + 6, 40, named))
    legend += 40 + named.length * 6.6
  }
  for (const tick of [0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]) {
    if (tick < least || tick > most) continue
    const weight = tick === 1 ? 'stroke-width="2"' : 'stroke-opacity=".3"'
    parts.push(`<path d="M${x(tick).toFixed(1)} ${TOP - 6}V${bottom}" stroke="${TEXT}" ${weight}/>`)
    parts.push(text(x(tick), bottom + 16, tick === 1 ? 'equal' : `${tick}×`, 'text-anchor="middle"'))
  }
  for (const [g, { label, times }] of groups.entries()) {
    const y = TOP + g * GROUP
    parts.push(text(LEFT - 14, y + GROUP / 2 - 2, label, 'text-anchor="end"'))
    for (const [i, value] of times.entries()) {
      if (!Number.isFinite(value)) continue
      const [from, to] = [Math.min(x(1), x(value)), Math.max(x(1), x(value))]
      const at = y + i * (BAR + 2)
      const width = Math.max(1, to - from).toFixed(1)
      parts.push(`<rect x="${from.toFixed(1)}" y="${at}" width="${width}" height="${BAR}" fill="${OTHERS[i]![2]}"/>`)
      parts.push(text(to + 5, at + BAR - 1.5, short(value), 'class="value"'))
    }
  }
  const conditions = `Medians of ${rounds} rounds, 64 B, server and load on a core each; ${machine.cpu}, Node ${versions.node}, ${date.slice(0, 10)}`
  parts.push(text(0, bottom + 40, conditions, 'class="value"'))
  const height = bottom + 50
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Throughput and latency of filtered-websocket as ratios to ws, Socket.IO and Bun">
<style>text{font:13px system-ui,sans-serif;fill:${TEXT}}.title{font-weight:600;font-size:15px}.value{font-size:11px}</style>
${parts.join('\n')}
</svg>
`
}

/** Above 1 `ours` is better. */
function times(row: Row, other: string): number {
  const ours = ratio(row, other)
  return LESS.has(row.unit) ? 1 / ours : ours
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x.toFixed(1)}" y="${y}" ${attributes}>${escaped}</text>`
}

function short(value: number): string {
  return `${value >= 10 ? Math.round(value) : value.toPrecision(2)}×`
}

const [file] = process.argv.slice(2)
const results: Results = file === undefined ? newest() : JSON.parse(readFileSync(file, 'utf8'))
writeFileSync(join(import.meta.dirname, '../docs/performance.svg'), draw(results))
