/** A built-in request is refused. The peer gets code and message. Not logged, as a peer can repeat the request at will. */
export class Refused extends Error {
  /** One word, such as `forbidden`. */
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}
