/** The class of all errors that this package throws deliberately. */
export class FwsError extends Error {
  override readonly name = 'FwsError'
  /**
   * Stable code. Usage errors: `ERR_OPTION`, `ERR_CONFIG`, `ERR_MODULE`, `ERR_FILTER`. Failed start: `ERR_STORAGE`,
   * `ERR_START`, `ERR_LISTEN`. Faults of a filter: `ERR_PAYLOAD`, `ERR_VERDICT`, `ERR_CLOSE_CODE`, `ERR_STATE`, `ERR_LIMIT`,
   * `ERR_TIMEOUT`. A client without permission: `ERR_FORBIDDEN`. A failed command: `ERR_COMMAND`.
   */
  readonly code: string

  /** @param message - what happened, the value received, what to do; lower case, no final stop. */
  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/** Whether an error is a mistake of the operator; the command line exits 2 for these, 1 for all others. */
export function isUsageError(error: unknown): boolean {
  return error instanceof FwsError && /^ERR_(OPTION|CONFIG|MODULE|FILTER)$/.test(error.code)
}

/** Whether a module's own error reports a wrong option. */
export function isOptionError(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === 'ERR_OPTION'
}

/** Whether an error is a permit's refusal; all other errors are failures of the filter. */
export function isForbidden(error: unknown): error is Error {
  return error instanceof Error && (error as { code?: unknown }).code === 'ERR_FORBIDDEN'
}

/** The message of any thrown value. */
export function messageOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error)
  } catch {
    return 'a value that cannot be shown'
  }
}

/** Formats a received value as JSON for an error message: `"abc"`, `[1,2]`. */
export function shown(value: unknown): string {
  try {
    return JSON.stringify(value) ?? messageOf(value)
  } catch {
    return messageOf(value)
  }
}
