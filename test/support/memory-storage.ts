import type { OpenStorage } from '../../src/index.ts'
import { open, options } from '../../storage/memory.ts'

type Chosen = Partial<Parameters<typeof open>[0]['options']>

/** Opens storage `memory`. */
export function openMemory(chosen: Chosen = {}): OpenStorage {
  return open({
    options: {
      'memory-channels': options['memory-channels'].default,
      'memory-streams-bytes': options['memory-streams-bytes'].default,
      'memory-streams-topics': options['memory-streams-topics'].default,
      ...chosen,
    },
  })
}
