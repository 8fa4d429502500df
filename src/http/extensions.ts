const DEFLATE = 'permessage-deflate'
const BITS = '(?:[89]|1[0-5])'
/** A valid parameter of permessage-deflate (RFC 7692, section 7.1); the value may be quoted. */
const PARAMETER = new RegExp(
  `^(?:(?:server|client)_no_context_takeover|client_max_window_bits|(?:server|client)_max_window_bits=(?:${BITS}|"${BITS}"))$`,
)

/**
 * Removes compression offers that a server must decline from a Sec-WebSocket-Extensions header, unknown or duplicate
 * parameters and wrong values (RFC 7692, section 7), and empty elements (RFC 9110, section 5.6.1.2), for which `ws` would refuse the handshake. Returns `undefined` if no offer
 * is left. A malformed header is not changed: `ws` refuses it.
 */
export function withoutBadOffers(header: string): string | undefined {
  const offers = header.split(',')
  const kept = offers.filter(offer => offer.trim() !== '' && !isBad(offer))
  return kept.length === 0 ? undefined : kept.join(',').trim()
}

/** Whether an offer is well-formed as an extension and invalid as an offer of permessage-deflate. */
function isBad(offer: string): boolean {
  const [name, ...parameters] = offer.split(';').map(part => part.trim())
  if (name !== DEFLATE || !parameters.every(isWellFormed)) return false
  const names = new Set(parameters.map(parameter => parameter.split('=')[0]))
  return names.size < parameters.length || !parameters.every(parameter => PARAMETER.test(parameter))
}

/** Whether a parameter is a token with an optional, possibly quoted, token as its value (RFC 6455, section 9.1). */
function isWellFormed(parameter: string): boolean {
  return /^[\w!#$%&'*+.^`|~-]+(?:=(?:[\w!#$%&'*+.^`|~-]+|"[\w!#$%&'*+.^`|~-]+"))?$/.test(parameter)
}
