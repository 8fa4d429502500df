/**
 * The same text in one piece. V8 keeps a text that was joined as the pieces that it was joined of until somebody needs it
 * whole: a UUID of Node takes 600 bytes so and 56 like this. For what is kept as long as a client.
 *
 * @param text - of characters up to U+00FF.
 */
export function flat(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}
