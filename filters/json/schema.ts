import type { AnySchema } from 'ajv'
import { optionError, readJson, readRegular } from 'filtered-websocket/kit'

/** Characters of a problem; it may contain names that the client has chosen. */
const MAX_PROBLEM = 300

/**
 * The check of a JSON Schema: returns what is wrong with a value, or `undefined`.
 *
 * @throws (rejects) Error `ERR_OPTION`: the file cannot be read, or is not a schema. Unknown keywords and formats are refused,
 * since they would check nothing.
 */
export async function checkOf(path: string): Promise<(value: unknown) => string | undefined> {
  try {
    const schema = readJson(readRegular(path)) as AnySchema | null
    if (schema === null) throw new Error('a schema is an object or a boolean, received null')
    const isDraft07 = typeof schema === 'object' && /draft-0[67]/.test(String(schema.$schema))
    const { Ajv } = isDraft07 ? await import('ajv') : { Ajv: (await import('ajv/dist/2020.js')).Ajv2020 }
    // Its warnings would go to the console.
    const ajv = new Ajv({ logger: false })
    const validate = ajv.compile(schema)
    // It would return a promise, which counts as valid.
    if ('$async' in validate) throw new Error('"$async" is not supported')
    return value =>
      validate(value) ? undefined : ajv.errorsText(validate.errors, { dataVar: 'message' }).slice(0, MAX_PROBLEM)
  } catch (error) {
    throw optionError(`--json-schema ${path}: ${(error as Error).message}`, error)
  }
}
