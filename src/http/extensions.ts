const DEFLATE = 'permessage-deflate'
const BITS = '(?:[89]|1[0-5])'
/** What RFC 7692, section 7.1, knows, each with a value that it allows; such a value may stand in quotes. */
const PARAMETER = new RegExp(
  `^(?:(?:server|client)_no_context_takeover|client_max_window_bits|(?:server|client)_max_window_bits=(?:${BITS}|"${BITS}"))$`,
)

/**
 * A Sec-WebSocket-Extensions header without the offers of compression that a server must decline: unknown parameters,
 * wrong values, one twice (RFC 7692, section 7). `ws` would refuse the whole handshake for one of them. `undefined`: none is left.
 * What is no list of extensions stays as it is, for `ws` to refuse.
 */
export function withoutBadOffers(header: string): string | undefined {
  const offers = header.split(',')
  const kept = offers.filter(offer => !isBad(offer))
  return kept.length === 0 ? undefined : kept.join(',').trim()
}

/** Well formed as an extension, and wrong as an offer of compression. */
function isBad(offer: string): boolean {
  const [name, ...parameters] = offer.split(';').map(part => part.trim())
  if (name !== DEFLATE || !parameters.every(isWellFormed)) return false
  const names = new Set(parameters.map(parameter => parameter.split('=')[0]))
  return names.size < parameters.length || !parameters.every(parameter => PARAMETER.test(parameter))
}

/** RFC 6455, section 9.1: a token, perhaps with a value that is a token, perhaps in quotes. */
function isWellFormed(parameter: string): boolean {
  return /^[\w!#$%&'*+.^`|~-]+(?:=(?:[\w!#$%&'*+.^`|~-]+|"[\w!#$%&'*+.^`|~-]+"))?$/.test(parameter)
}
