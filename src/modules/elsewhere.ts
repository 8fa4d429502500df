import type { FilterModule } from '../contract/filter.ts'
import { builtinNames, FILTER, type Loader, STORAGE } from './loader.ts'

/**
 * Finds options in built-in modules that are not chosen, for errors. Only modules whose names the options begin with, and the
 * filters that those use, are loaded.
 *
 * @returns the owner of each option of these modules, such as `filter rate-limit`.
 */
export async function optionsElsewhere(names: readonly string[], loader: Loader): Promise<ReadonlyMap<string, string>> {
  const owners = new Map<string, string>()
  for (const kind of [FILTER, STORAGE]) {
    const builtins = builtinNames(kind)
    const modules = new Set(builtins.filter(module => names.some(name => name.startsWith(`${module}-`))))
    // Modules that are added meanwhile are visited too.
    for (const module of modules) {
      const { options = {}, uses = [] } = (await loader.load(kind, module, '.')).exports as FilterModule
      for (const name of Object.keys(options)) owners.set(name, `${kind.noun} ${module}`)
      for (const used of uses) if (builtins.includes(used)) modules.add(used)
    }
  }
  return owners
}
