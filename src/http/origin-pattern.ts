import { FwsError } from '../contract/errors.ts'

/** Whether an entry of `--origins` matches an origin; `text` is the header, since `null` and invalid origins have no URL. */
export type OriginPattern = (origin: URL | undefined, text: string) => boolean

/**
 * Parses an entry of `--origins`: `*`, `null`, or scheme, host and optional port. A label `*` in the host matches exactly one
 * label; it is refused as one of the last two, where it would match foreign domains.
 *
 * @throws FwsError `ERR_OPTION`.
 */
export function readOriginPattern(entry: string): OriginPattern {
  if (entry === '*') return () => true
  if (entry === 'null') return (_, text) => text === 'null'
  const url = originUrl(entry)
  if (url === undefined) {
    throw new FwsError('ERR_OPTION', `--origins takes * or origins such as https://example.com, received "${entry}"`)
  }
  const wanted = url.hostname.split('.')
  const isWild = wanted.some((label, i) => label.includes('*') && (label !== '*' || i >= wanted.length - 2))
  if (isWild || (wanted.includes('*') && wanted.at(-1) === '')) {
    throw new FwsError(
      'ERR_OPTION',
      `--origins: * must be a complete label and not one of the last two, as in https://*.example.com, received "${entry}"`,
    )
  }
  return origin => {
    if (origin === undefined || origin.protocol !== url.protocol || origin.port !== url.port) return false
    const labels = origin.hostname.split('.')
    return (
      labels.length === wanted.length &&
      labels.every((label, i) => label === wanted[i] || (wanted[i] === '*' && label !== ''))
    )
  }
}

/**
 * Parses an origin: scheme, host and optional port. A URL with a user, a path or a query is not an origin.
 *
 * Of clients that are not browsers it accepts a `/` at the end, the schemes ws and wss as http and https, and a scheme without
 * a host: `file://`.
 */
export function originUrl(text: string): URL | undefined {
  const [, origin] = /^([a-z][a-z\d+.-]*:\/\/[^\s/?#@\\%]*)\/?$/i.exec(text) ?? []
  const url = origin?.replace(/^ws(?=s?:)/i, 'http')
  return url !== undefined && URL.canParse(url) ? new URL(url) : undefined
}
