/** One option: a yargs option object, extended by `separator`, `secret`, `refuseEmpty`, `min`, `max` and `integer`. */
export interface OptionSpec {
  readonly type: 'string' | 'number' | 'boolean' | 'array'
  /** A noun phrase or an imperative, for `--help`. */
  readonly describe?: string
  readonly default?: string | number | boolean | readonly string[]
  readonly alias?: string
  readonly choices?: readonly string[]
  readonly demandOption?: true
  /** A path: made absolute, relative to the working directory or to the folder of the config file. */
  readonly normalize?: true
  /** Separator between array entries in an environment variable. Default: spaces and commas. */
  readonly separator?: string
  /** Never printed; can also be read from the file that `FWS_NAME_FILE` names. */
  readonly secret?: true
  /**
   * An empty environment variable is an error; else it counts as not set. For an option that protects, such as a list of accepted
   * issuers: without a value the server would admit more. Secrets have it always.
   */
  readonly refuseEmpty?: true
  /** Bounds of a number, inclusive. */
  readonly min?: number
  readonly max?: number
  readonly integer?: true
}

/** Options by name, without `--`. */
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

/** The values of options: optional unless they have a default or `demandOption`. */
export type OptionValues<S extends OptionSpecs> = { readonly [K in keyof S]: Given<S[K]> }
