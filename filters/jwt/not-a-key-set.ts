/** A response that is not a key set. */
export class NotAKeySet extends Error {
  /** Names the usual right URL or form. */
  readonly hint: string

  constructor(message: string, hint: string) {
    super(message)
    this.hint = hint
  }
}

const DISCOVERY = "the issuer's /.well-known/openid-configuration names the URL as jwks_uri"
const FORM = 'a key set has the form {"keys":[...]}'
/** Characters of a URL that a response names. */
const MAX_URL = 500

/** Recognizes what operators set in place of the URL of a key set. */
export function notAKeySet(document: unknown, url: URL): NotAKeySet {
  const is = (found: string, hint: string) => new NotAKeySet(`the response is ${found}, not a key set`, hint)
  if (Array.isArray(document)) return is('an array', FORM)
  const {
    jwks_uri: uri,
    kty,
    realm,
    public_key: key,
    ...others
  } = { ...(document as Readonly<Record<string, unknown>>) }
  if (typeof uri === 'string') return is('a discovery document', setTo(uri))
  if (kty !== undefined) return is('a single key', FORM)
  if (realm !== undefined && key !== undefined)
    return is('a realm of Keycloak', setTo(`${at(url)}/protocol/openid-connect/certs`))
  const values = Object.values(others)
  if (values.length > 0 && values.every(value => String(value).startsWith('-----BEGIN CERTIFICATE')))
    return is('a map of X.509 certificates', nextToCertificates(url))
  return new NotAKeySet('the response is not a key set', FORM)
}

/** A response that is not JSON; otherwise the error of the parser. */
export function notJson(text: string, error: unknown): unknown {
  if (/^\s*</.test(text)) return new NotAKeySet('the response is a page of HTML or XML, not a key set', DISCOVERY)
  if (!text.includes('-----BEGIN')) return error
  return new NotAKeySet('the response is a PEM file, not a key set', 'save it, and set --jwt-public-key to the file')
}

/** A response with another status than 200. A redirect is not followed, since only the configured URL has been checked. */
export function wrongStatus({ status, headers }: Response, url: URL): Error {
  const message = `the response has status ${status}`
  const location = headers.get('location')
  if (location !== null) return new NotAKeySet(`${message}, and redirects are not followed`, setTo(location, url))
  return status === 404 ? new NotAKeySet(message, DISCOVERY) : new Error(message)
}

/** Google has the same keys as certificates and as a key set. */
function nextToCertificates(url: URL): string {
  const keys = at(url)
    .replace('/robot/v1/metadata/x509/', '/service_accounts/v1/jwk/')
    .replace('/oauth2/v1/certs', '/oauth2/v3/certs')
  return keys === at(url) ? DISCOVERY : setTo(keys)
}

/** Advice to set a URL, which may come from the response; without it if it has another form. */
function setTo(text: string, base?: URL): string {
  const url = URL.canParse(text, base?.href) ? new URL(text, base) : undefined
  const isShown = url && /^https?:$/.test(url.protocol) && url.username + url.password === ''
  return isShown && url.href.length <= MAX_URL ? `set --jwt-jwks-url to ${url.href}` : DISCOVERY
}

/** Without the query, which may have a key. */
function at({ origin, pathname }: URL): string {
  return origin + pathname.replace(/\/$/, '')
}
