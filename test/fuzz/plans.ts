import assert from 'node:assert/strict'
import { isUsageError, messageOf } from '../../src/contract/errors.ts'
import { makePlan, type Sources } from '../../src/lifecycle/plan.ts'
import { type LoadedModule, Loader, type ModuleKind } from '../../src/modules/loader.ts'

/** Resolves each module once, since the options change thousands of times and the modules do not. */
export class RememberingLoader extends Loader {
  readonly #loaded = new Map<string, Promise<LoadedModule>>()

  constructor() {
    super({})
  }

  override load(kind: ModuleKind, asked: string, base: string, usedBy?: string): Promise<LoadedModule> {
    const key = JSON.stringify([kind.noun, asked, base, usedBy])
    let loaded = this.#loaded.get(key)
    if (loaded === undefined) {
      loaded = super.load(kind, asked, base, usedBy)
      this.#loaded.set(key, loaded)
    }
    return loaded
  }
}

/** Returns a plan, or the one-sentence error of the operator; any other error fails the test. */
export async function refusedOrTaken(sources: Sources, loader: Loader): Promise<void> {
  try {
    await makePlan(sources, loader)
  } catch (error) {
    if (!isUsageError(error)) throw error
    const sentence = messageOf(error)
    assert.match(sentence, /\S+ \S+/)
    assert.doesNotMatch(sentence, /\n {4}at |\[object |Cannot read prop|is not a function/)
  }
}
