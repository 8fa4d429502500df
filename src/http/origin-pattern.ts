import { FwsError } from '../contract/errors.ts'

/** Whether an entry of `--origins` means this origin; the second is its text, since `null` and nonsense have no URL. */
export type OriginPattern = (origin: URL | undefined, text: string) => boolean

/**
 * Reads an entry: `*`, `null`, or scheme, host and perhaps port. A label of the host that is `*` stands for exactly one
 * label; the last two cannot, since that would be everybody's.
 *
 * @throws FwsError `ERR_OPTION`.
 */
export function readOriginPattern(entry: string): OriginPattern {
  if (entry === '*') return () => true
  if (entry === 'null') return (_, text) => text === 'null'
  const url = originUrl(entry.replace(/\/$/, ''))
  if (url === undefined) {
    throw new FwsError('ERR_OPTION', `--origins takes * or origins such as https://example.com, received "${entry}"`)
  }
  const wanted = url.hostname.split('.')
  const isWild = wanted.some((label, i) => label.includes('*') && (label !== '*' || i >= wanted.length - 2))
  if (isWild || (wanted.includes('*') && wanted.at(-1) === '')) {
    throw new FwsError(
      'ERR_OPTION',
      `--origins: * is one whole label, and none of the last two, as in https://*.example.com, received "${entry}"`,
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

/** An origin as browsers write it: scheme, host and perhaps port. What only a URL may have, such as a user, is no origin. */
export function originUrl(text: string): URL | undefined {
  return /^[a-z][a-z\d+.-]*:\/\/[^\s/?#@\\%]+$/i.test(text)
    ? URL.canParse(text)
      ? new URL(text)
      : undefined
    : undefined
}
