import type { FilterModule } from './filter.ts'
import type { OptionSpecs } from './option.ts'

/**
 * Returns a filter unchanged, and infers the types of its parameters: payload, client, and the values of its own options.
 * A misspelled or wrong key is a type error. A filter without options needs only `satisfies FilterModule`.
 *
 * @example
 * export default defineFilter({
 *   options: { 'words-max': { type: 'number', default: 50 } },
 *   setup: ({ options }) => ({
 *     message: (payload, client) => (payload.length > options['words-max'] ? client.drop('too long') : undefined),
 *   }),
 * })
 */
export function defineFilter<const O extends OptionSpecs>(filter: FilterModule<O>): FilterModule<O> {
  return filter
}
