/** Every error that this package raises on purpose. */
export class FwsError extends Error {
  override readonly name = 'FwsError'
  /**
   * Stable, for programs. What was asked for cannot be: `ERR_OPTION`, `ERR_CONFIG`, `ERR_MODULE`, `ERR_FILTER`. Starting
   * failed: `ERR_STORAGE`, `ERR_START`, `ERR_LISTEN`. A filter is wrong: `ERR_PAYLOAD`, `ERR_VERDICT`, `ERR_CLOSE_CODE`,
   * `ERR_STATE`, `ERR_LIMIT`, `ERR_TIMEOUT`. A client may not: `ERR_FORBIDDEN`. A command says no: `ERR_COMMAND`.
   */
  readonly code: string

  /** @param message - what happened, to whom, the value received, what to do; lower case, no final stop. */
  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/** Mistakes of the person who starts the server; the command line exits 2 for these, 1 for all others. */
export function isUsageError(error: unknown): boolean {
  return error instanceof FwsError && /^ERR_(OPTION|CONFIG|MODULE|FILTER)$/.test(error.code)
}

/** Whether a module, which raises errors of its own, complains of what the operator wrote. */
export function isOptionError(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === 'ERR_OPTION'
}

/** Whether a client asked for something that a guard does not permit; any other error is the filter's failure. */
export function isForbidden(error: unknown): error is Error {
  return error instanceof Error && (error as { code?: unknown }).code === 'ERR_FORBIDDEN'
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error)
  } catch {
    return 'a value that cannot be shown'
  }
}

/** A value that was received, as it would be written: `"abc"`, `[1,2]`. */
export function shown(value: unknown): string {
  try {
    return JSON.stringify(value) ?? messageOf(value)
  } catch {
    return messageOf(value)
  }
}
