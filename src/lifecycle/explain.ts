import { relative } from 'node:path'
import { CHAIN_NAMES } from '../chain/chains.ts'
import { COMMAND_LINE, type Setting } from '../config/settings.ts'
import { shownName } from '../modules/loader.ts'
import type { PlacedFilter } from '../modules/placement.ts'
import type { Assembly } from './assembly.ts'
import type { Plan } from './plan.ts'

/** The text of `--explain`: the handlers of each chain with their files, and every option with its value and source. */
export function explain(plan: Plan, { chains, filters }: Assembly, base: string): string {
  const where = (file: string) => (file.startsWith('(') ? file : relative(base, file))
  const lines: string[] = ['chains']
  const chain = (name: string, steps: readonly { filter: string; placed: PlacedFilter }[]) => {
    if (steps.length === 0) return
    lines.push(`  ${name}`)
    for (const [i, { filter, placed }] of steps.entries()) {
      lines.push(`    ${i + 1}. ${filter.padEnd(24)} ${where(placed.file)}${roleOf(placed)}`)
    }
  }
  const having = (key: 'start' | 'permit' | 'retain' | 'joined' | 'left' | 'reload' | 'stop') =>
    filters.filter(({ handlers }) => handlers[key]).map(({ placed }) => ({ filter: placed.asked, placed }))
  chain('start', having('start'))
  for (const name of CHAIN_NAMES) {
    chain(
      name,
      chains[name].steps.map(({ filter, order }) => ({ filter, placed: filters[order]!.placed })),
    )
  }
  chain('permit', having('permit'))
  for (const key of ['retain', 'joined', 'left'] as const) chain(key, having(key))
  chain('reload', having('reload'))
  chain('stop', having('stop').toReversed())
  const claimed = filters.flatMap(({ name, paths }) => paths.map(path => `  ${path.padEnd(26)} ${name}`))
  if (claimed.length > 0) lines.push('', 'paths', ...claimed)
  for (const { name, explain: own } of filters)
    if (own.length > 0) lines.push('', `filter ${name}`, ...own.map((line, i) => `  ${i + 1}. ${line}`))
  lines.push('', 'storage', `  ${plan.storage.name.padEnd(26)} ${where(plan.storage.file)}`)
  let owner = ''
  for (const [name, setting] of plan.settings) {
    if (setting.owner === COMMAND_LINE) continue
    if (setting.owner !== owner) lines.push('', `options of ${setting.owner}`)
    owner = setting.owner
    lines.push(optionLine(name, setting))
  }
  for (const filter of plan.filters) {
    const own = [...plan.settingsOf(filter)].filter(
      ([name, setting]) =>
        setting !== plan.settings.get(name) &&
        filter.options.size > 0 &&
        Object.hasOwn(filter.module.options ?? {}, name),
    )
    if (own.length === 0) continue
    lines.push('', `options of filter ${filter.asked}, at place ${plan.filters.indexOf(filter) + 1}`)
    for (const [name, setting] of own) lines.push(optionLine(name, setting))
  }
  return `${lines.join('\n')}\n`
}

function roleOf({ module, uses }: PlacedFilter): string {
  const notes = [module.stage ?? '', uses.size > 0 ? `uses ${[...uses.keys()].join(', ')}` : ''].filter(
    note => note !== '',
  )
  return notes.length === 0 ? '' : `  (${notes.join('; ')})`
}

function optionLine(name: string, setting: Setting): string {
  const { value } = setting
  const shown = name === 'filters' && Array.isArray(value) ? { ...setting, value: value.map(shownName) } : setting
  return `  ${name.padEnd(26)} ${shownValue(shown).padEnd(26)}  ${setting.source}`
}

function shownValue({ value, spec }: Setting): string {
  if (value === undefined) return '(none)'
  if (spec.secret) return '********'
  return [value].flat().join(' ') || '(none)'
}
