// Generates docs/reference/options.md, config.schema.json, and the filter table in README.md.
// With --check it only fails if one of them is out of date.
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'

const root = dirname(import.meta.dirname)
const load = file => import(pathToFileURL(join(root, 'dist', file)).href)
const { coreOptions, commandOptions, envName } = await load('src/config/options.js')
const { configSchema } = await load('src/config/schema.js')
const { builtinNames, FILTER, STORAGE } = await load('src/modules/loader.js')

/** Groups of the filter table. A filter with `stage: 'guard'` is a guard; a filter that is not listed is in Others. */
const GUARDS = 'Guards'
const GROUPS = {
  [GUARDS]: [],
  Messages: ['broadcast', 'broadcast-by-token', 'broadcast-pubsub', 'echo', 'json'],
  Programs: ['exec', 'exec-each'],
  Protocols: ['announce', 'centrifuge', 'clock', 'media', 'messaging', 'wslink'],
  'Kept topics': ['presence', 'streams'],
  HTTP: ['health', 'pages'],
  'Input and output': ['log', 'record', 'stdin', 'stdout', 'stdout-messages', 'stdout-pubsub', 'stdout-rawdata'],
  Others: [],
}

/** Options by owner. */
const modules = {}
/** Rows of the filter table by group. */
const rows = Object.fromEntries(Object.keys(GROUPS).map(group => [group, []]))
for (const kind of [FILTER, STORAGE]) {
  for (const name of builtinNames(kind)) {
    const { options, stage, describe } = await load(`${kind.folder}/${name}.js`)
    if (options !== undefined) modules[`${kind.noun} ${name}`] = options
    if (kind !== FILTER) continue
    const listed = Object.keys(GROUPS).find(group => GROUPS[group].includes(name)) ?? 'Others'
    const group = stage === 'guard' ? GUARDS : listed
    rows[group].push(`| ${rows[group].length === 0 ? group : ''} | \`${name}\` | ${describe ?? ''} |`)
  }
}

const cell = text => String(text).replaceAll('|', '\\|')
const defaultOf = spec => (spec.default === undefined || spec.secret ? '' : [spec.default].flat().join(' ') || '(none)')
const flagOf = (name, spec) => `\`${spec.alias ? `-${spec.alias}, ` : ''}--${name}\``

function table(specs) {
  const rows = Object.entries(specs).map(
    ([name, spec]) =>
      `| ${flagOf(name, spec)} | ${spec.choices ? spec.choices.join(', ') : spec.type} | ${cell(defaultOf(spec))} | ${cell(spec.describe ?? '')} |`,
  )
  return ['| option | type | default | what it does |', '|---|---|---|---|', ...rows].join('\n')
}

const optionsPage = `# Options

Generated from the option objects by \`npm run docs\`; do not edit.

A flag overrides the environment, the environment overrides the config file, and the config file overrides the default.
\`--explain\` prints every value with its source. \`--max-payload\` is \`${envName('max-payload')}\` in the environment and \`max-payload\`,
\`max_payload\` or \`maxPayload\` in the config file and in \`createServer\`. Spaces or commas separate the values of an array in the
environment. \`FWS_NAME_FILE\` names a file that holds a secret. \`STORAGE_OBJECT_MODULE\` also names the storage.
See [configuration](../guide/configuration.md#environment).

## Core

${table({ ...coreOptions, ...commandOptions })}
${Object.entries(modules)
  .map(([owner, specs]) => `\n## ${owner[0].toUpperCase()}${owner.slice(1)}\n\n${table(specs)}\n`)
  .join('')}`

const filterTable = ['| | filter | |', '|---|---|---|', ...Object.values(rows).flat()].join('\n')
const readme = readFileSync(join(root, 'README.md'), 'utf8').replace(
  /(<!-- filters: made by npm run docs -->\n)[\s\S]*?(<!-- \/filters -->)/,
  (_, open, close) => `${open}${filterTable}\n${close}`,
)

const made = {
  'docs/reference/options.md': optionsPage,
  'README.md': readme,
  'config.schema.json': `${JSON.stringify(configSchema(modules), null, 2)}\n`,
}
const stale = []
for (const [file, text] of Object.entries(made)) {
  let current = ''
  try {
    current = readFileSync(join(root, file), 'utf8')
  } catch {}
  if (current === text) continue
  stale.push(file)
  if (!process.argv.includes('--check')) writeFileSync(join(root, file), text)
}
if (process.argv.includes('--check') && stale.length > 0) {
  console.error(`out of date: ${stale.join(', ')}; run npm run docs`)
  process.exit(1)
}
