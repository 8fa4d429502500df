const REFUSED = /_ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_(?:REVOKED|EXPIRED|UNKNOWN))$/
const UNABLE = /_(?:NO_SHARED_CIPHER|NO_SUITABLE_SIGNATURE_ALGORITHM)$/

/**
 * Why a TLS handshake failed, if the server's key or certificate may be the cause; `undefined`: the client or the network is.
 *
 * @param code - of the error that the event `tlsClientError` reports.
 * @example
 * tlsFailureOf('ERR_SSL_TLSV1_ALERT_UNKNOWN_CA') // 'a client refused the certificate of this server: unknown ca'
 */
export function tlsFailureOf(code: string): string | undefined {
  const [, alert] = REFUSED.exec(code) ?? []
  if (alert !== undefined)
    return `a client refused the certificate of this server: ${alert.toLowerCase().replaceAll('_', ' ')}`
  return UNABLE.test(code) ? 'the key of this server supports no cipher or signature that the client offers' : undefined
}
