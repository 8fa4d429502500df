/** Why a request of ours is not done: told to who asked, with its code, and not logged, as a peer can ask again and again. */
export class Refused extends Error {
  /** One word, such as `forbidden`. */
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}
