// Writes what is made from the option objects: docs/options.md, the table in README.md, config.schema.json.
// With --check it writes nothing and fails when one of them is out of date.
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'

const root = dirname(import.meta.dirname)
const load = file => import(pathToFileURL(join(root, 'dist', file)).href)
const { coreOptions, commandOptions, envName } = await load('src/config/options.js')
const { configSchema } = await load('src/config/schema.js')
const { builtinNames, FILTER, STORAGE } = await load('src/modules/loader.js')

const modules = {}
for (const kind of [FILTER, STORAGE]) {
  for (const name of builtinNames(kind)) {
    const { options } = await load(`${kind.folder}/${name}.js`)
    if (options !== undefined) modules[`${kind.noun} ${name}`] = options
  }
}

const cell = text => String(text).replaceAll('|', '\\|')
const defaultOf = spec => (spec.default === undefined || spec.secret ? '' : [spec.default].flat().join(' ') || '(none)')
const flagOf = (name, spec) => `\`${spec.alias ? `-${spec.alias}, ` : ''}--${name}\``

function table(specs) {
  const rows = Object.entries(specs).map(
    ([name, spec]) =>
      `| ${flagOf(name, spec)} | ${spec.choices ? spec.choices.join(', ') : spec.type} | ${cell(defaultOf(spec))} | ${cell(spec.describe)} |`,
  )
  return ['| option | type | default | what it does |', '|---|---|---|---|', ...rows].join('\n')
}

const optionsPage = `# Options

Made from the option objects in the code by \`npm run docs\`; do not edit.

A flag beats the environment, which beats the config file, which beats the default; \`--explain\` prints where each value came
from. \`--max-payload\` is \`${envName('max-payload')}\` in the environment and \`max-payload\`, \`max_payload\` or \`maxPayload\` in the config
file and in \`createServer\`. A list in the environment is separated by blanks or commas. A secret may come from a file:
\`FWS_NAME_FILE\`. The storage may also be named by \`STORAGE_OBJECT_MODULE\`.

## Core

${table({ ...coreOptions, ...commandOptions })}
${Object.entries(modules)
  .map(([owner, specs]) => `\n## ${owner[0].toUpperCase()}${owner.slice(1)}\n\n${table(specs)}\n`)
  .join('')}`

const readme = readFileSync(join(root, 'README.md'), 'utf8').replace(
  /(<!-- options: made by npm run docs -->\n)[\s\S]*?(<!-- \/options -->)/,
  (_, open, close) => `${open}${table(coreOptions)}\n${close}`,
)

const made = {
  'docs/options.md': optionsPage,
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
