import { FwsError } from '../contract/errors.ts'
import type { Bus, Capability, OpenStorage, Storage } from '../contract/storage.ts'

const CAPABILITIES: readonly Capability[] = ['sets', 'values', 'bus', 'streams']

/** The capabilities that an open storage has. */
export function capabilitiesOf(storage: OpenStorage): readonly Capability[] {
  return CAPABILITIES.filter(capability => storage[capability] !== undefined)
}

/** @throws FwsError `ERR_FILTER` if the storage lacks a capability that a filter needs. */
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

/** The storage as filters see it: access to a missing capability throws, and errors of subscribers are contained. */
export function guardStorage(storageName: string, storage: OpenStorage, onError: (error: unknown) => void): Storage {
  const guarded = {}
  const bus = storage.bus && guardBus(storage.bus, onError)
  for (const capability of CAPABILITIES) {
    Object.defineProperty(guarded, capability, {
      enumerable: true,
      get: () => {
        const found = capability === 'bus' ? bus : storage[capability]
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

function guardBus(bus: Bus, onError: (error: unknown) => void): Bus {
  return {
    publish: (channel, payload) => bus.publish(channel, payload),
    subscribe: (channel, deliver) =>
      bus.subscribe(channel, payload => {
        try {
          deliver(payload)
        } catch (error) {
          onError(error)
        }
      }),
  }
}
