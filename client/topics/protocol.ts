// The Centrifugal client protocol in JSON, as far as this client speaks it: frames of commands `{id, METHOD: params}`, replies
// `{id, METHOD: result}` and pushes, separated by newlines; `{}` is a ping or a pong.

/** A position in a kept topic: behind the message with this offset. */
export interface Position {
  readonly epoch: string
  readonly offset: number
}

/** A message of a topic. */
export interface Publication {
  /** JSON that a client has published: check it. */
  // biome-ignore lint/suspicious/noExplicitAny: the application knows its messages
  readonly data: any
  /** `undefined` if the message is not kept. */
  readonly offset?: number
  /** The client that has published it, if the server says so. */
  readonly info?: { readonly user: string; readonly client: string }
}

/** The reason why a call or a subscription has failed. */
export interface Failure {
  /**
   * The code of the server, such as 103 (permission denied); or `timeout` or `lost` (the connection broke): the server may have handled
   * the call.
   */
  readonly code: number | 'lost' | 'timeout'
  readonly message: string
  /** Whether the server expects that it succeeds later. */
  readonly temporary?: boolean
}

export type TopicsError = Error & Failure

/** A reply; its result is under the name of the method. */
export interface Reply {
  readonly id?: number
  readonly error?: Failure
  readonly [method: string]: unknown
}

export interface Push {
  readonly channel: string
  readonly pub?: Publication
  readonly unsubscribe?: { readonly code: number; readonly reason: string }
}

/** The result of `connect`. */
export interface Accepted {
  /** Seconds between pings of the server. */
  readonly ping?: number
  /** Whether the server expects an answer to them. */
  readonly pong?: boolean
}

/** The result of `subscribe` and `history`. */
export interface Subscribed extends Position {
  readonly recoverable?: boolean
  readonly publications?: Publication[]
  // biome-ignore lint/suspicious/noExplicitAny: the filter of the channel defines it
  readonly data?: any
}

export const errorOf = (failure: Failure): TopicsError => Object.assign(Error(failure.message), failure)
