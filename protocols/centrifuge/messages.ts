// Messages of the Centrifugal client protocol in JSON, as the server reads and writes them.

/** A command of a client, not checked: one method besides the id, which `send` does not have. `{}` is a pong. */
export type Command = Readonly<Record<string, unknown>>

export interface Publication {
  readonly data: unknown
  readonly offset?: number
}

export interface ConnectReply {
  readonly client: string
  readonly version: string
  readonly ping?: number
  readonly pong?: true
  readonly expires?: true
  /** Seconds until the token expires. */
  readonly ttl?: number
  /** Channels that the server has subscribed. */
  readonly subs?: Readonly<Record<string, SubscribeReply>>
}

export interface SubscribeReply {
  readonly recoverable?: true
  readonly positioned?: true
  readonly epoch?: string
  /** The requested one if `recovered`, else the top. */
  readonly offset?: number
  readonly was_recovering?: true
  readonly recovered?: boolean
  readonly publications?: readonly Publication[]
  readonly data?: unknown
}
