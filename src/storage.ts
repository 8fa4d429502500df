import { FwsError } from './errors.ts'
import type { Capability, OpenStorage, Storage } from './types.ts'

const CAPABILITIES: readonly Capability[] = ['sets', 'values', 'bus', 'history']

/** The capabilities that an open storage has. */
export function capabilitiesOf(storage: OpenStorage): readonly Capability[] {
  return CAPABILITIES.filter(capability => storage[capability] !== undefined)
}

/** @throws FwsError `ERR_FILTER` when the storage lacks what a filter needs. */
export function checkNeeds(
  filter: string,
  needs: readonly Capability[],
  storageName: string,
  storage: OpenStorage,
): void {
  const has = capabilitiesOf(storage)
  const missing = needs.find(need => !has.includes(need))
  if (missing === undefined) return
  throw new FwsError(
    'ERR_FILTER',
    `-f ${filter} needs a storage with "${missing}"; storage "${storageName}" has ${has.join(', ') || 'nothing'}`,
  )
}

/** The storage as filters see it: a capability that is missing says so when it is first asked for. */
export function guardStorage(storageName: string, storage: OpenStorage): Storage {
  const guarded = {}
  for (const capability of CAPABILITIES) {
    Object.defineProperty(guarded, capability, {
      enumerable: true,
      get: () => {
        const found = storage[capability]
        if (found !== undefined) return found
        const has = capabilitiesOf(storage).join(', ') || 'nothing'
        throw new FwsError(
          'ERR_STORAGE',
          `storage "${storageName}" has no "${capability}", it has ${has}; list it in needs`,
        )
      },
    })
  }
  return guarded as Storage
}
