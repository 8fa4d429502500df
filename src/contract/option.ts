/** One option, in yargs' words; `separator`, `secret`, `min`, `max` and `integer` are ours. `normalize` marks a path. */
export interface OptionSpec {
  readonly type: 'string' | 'number' | 'boolean' | 'array'
  readonly describe: string
  readonly default?: string | number | boolean | readonly string[]
  readonly alias?: string
  readonly choices?: readonly string[]
  readonly demandOption?: true
  /** A path: made absolute, from the working directory or the config file's folder. */
  readonly normalize?: true
  /** Between the entries of an array in the environment; default: blanks and commas. */
  readonly separator?: string
  /** Never printed; may also come from a file named by `FWS_NAME_FILE`. */
  readonly secret?: true
  /** Bounds of a number, inclusive. */
  readonly min?: number
  readonly max?: number
  readonly integer?: true
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>

type Value<S> = S extends { type: 'number' }
  ? number
  : S extends { type: 'boolean' }
    ? boolean
    : S extends { type: 'array' }
      ? readonly string[]
      : S extends { choices: readonly (infer C)[] }
        ? C
        : string

type Given<S> = S extends { default: NonNullable<unknown> } | { demandOption: true } ? Value<S> : Value<S> | undefined

export type OptionValues<S extends OptionSpecs> = { readonly [K in keyof S]: Given<S[K]> }
