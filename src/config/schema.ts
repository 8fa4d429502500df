import type { OptionSpec, OptionSpecs } from '../contract/option.ts'
import { coreOptions } from './options.ts'

/** A JSON Schema (draft 2020-12) of the config file: the options of the core and of the given modules. */
export function configSchema(modules: Readonly<Record<string, OptionSpecs>>): object {
  const properties: Record<string, object> = {
    $schema: { type: 'string' },
    filters: {
      description: coreOptions.filters.describe,
      anyOf: [{ type: 'string' }, { type: 'array', items: { $ref: '#/$defs/filter' } }],
    },
    flags: { description: 'Switches to turn on', type: 'array', items: { type: 'string' } },
  }
  for (const [owner, specs] of Object.entries({ core: coreOptions, ...modules })) {
    for (const [name, spec] of Object.entries(specs)) {
      if (name !== 'filters' && name !== 'config') properties[name] = propertyOf(owner, spec)
    }
  }
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'filtered-websocket config file',
    description: 'Names can also be written in snake_case or camelCase. Other filters and storages add their options.',
    type: 'object',
    properties,
    $defs: {
      filter: {
        anyOf: [
          { type: 'string' },
          { type: 'array', prefixItems: [{ type: 'string' }, { type: 'object' }], items: false, minItems: 2 },
        ],
      },
    },
  }
}

function propertyOf(owner: string, spec: OptionSpec): object {
  const common = {
    ...(spec.describe && { description: owner === 'core' ? spec.describe : `${owner}: ${spec.describe}` }),
    ...(spec.default !== undefined && { default: spec.default }),
  }
  switch (spec.type) {
    case 'number': {
      const range = {
        ...(spec.min !== undefined && { minimum: spec.min }),
        ...(spec.max !== undefined && { maximum: spec.max }),
      }
      // Numbers may be strings, as in files of filtered_websocket (Python).
      return {
        ...common,
        anyOf: [
          { type: spec.integer ? 'integer' : 'number', ...range },
          { type: 'string', pattern: '^[0-9.]+$' },
        ],
      }
    }
    case 'boolean':
      return { ...common, type: 'boolean' }
    case 'array':
      return { ...common, anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] }
    case 'string':
      return { ...common, type: 'string', ...(spec.choices && { enum: spec.choices }) }
  }
}
