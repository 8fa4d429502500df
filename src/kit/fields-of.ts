import type { IncomingMessage } from 'node:http'

/**
 * The values of a header field, in order, without the table of all fields that `headersDistinct` builds.
 *
 * @param name - in lower case.
 * @example
 * fieldsOf(req, 'x-forwarded-for').join(', ')
 */
export function fieldsOf({ rawHeaders }: IncomingMessage, name: string): string[] {
  const values: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]!.length === name.length && rawHeaders[i]!.toLowerCase() === name) values.push(rawHeaders[i + 1]!)
  return values
}
