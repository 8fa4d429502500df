import { FwsError, isOptionError, messageOf } from '../contract/errors.ts'
import type { ReadyFilter } from './filter-setup.ts'

/** Reads files again; returns the function that puts them to use. */
type Reload = () => (() => void) | undefined

/**
 * Reads the files of the listener and of every filter that has `reload`, then uses them: all, or none when one fails.
 * Returns whether there are any.
 *
 * @throws FwsError `ERR_OPTION`: a file cannot be used; `ERR_FILTER`: a filter fails.
 */
export function reloadAll(listener: Reload, filters: readonly ReadyFilter[]): boolean {
  const uses = [listener, ...filters.map(reloadOf)].flatMap(reload => reload() ?? [])
  for (const use of uses) use()
  return uses.length > 0
}

function reloadOf({ placed: { asked }, handlers }: ReadyFilter): Reload {
  return () => {
    try {
      return handlers.reload?.()
    } catch (error) {
      if (isOptionError(error)) throw new FwsError('ERR_OPTION', `filter ${asked}: ${messageOf(error)}`, error)
      throw new FwsError('ERR_FILTER', `reload of filter ${asked} failed: ${messageOf(error)}`, error)
    }
  }
}
