import { WebSocket } from 'ws'
import type { Position } from '../../src/index.ts'
import { Peer, until } from './peer.ts'

/** A client of the topic of `filters/kept.ts` that checks each message against its position, and can move to another server. */
export class KeptPeer {
  /** Payloads of the entries, over all connections. */
  readonly payloads: string[] = []
  /** Messages without a position: of a topic whose storage is away. */
  readonly live: string[] = []
  /** The losses that it was informed of. */
  readonly losses: string[] = []
  /** Entries that do not follow the one before. */
  readonly violations: string[] = []
  position: Position | undefined
  #peer!: Peer

  static async open(url: string): Promise<KeptPeer> {
    const peer = new KeptPeer()
    await peer.move(url)
    return peer
  }

  get isOpen(): boolean {
    return this.#peer.closed === undefined
  }

  /** Connects to a server, at the position of its last entry. */
  async move(url: string): Promise<void> {
    const after = this.position && `?after=${this.position.epoch}+${this.position.offset}`
    const ws = new WebSocket(`${url}/room${after ?? ''}`, { perMessageDeflate: false })
    this.#peer = new Peer(ws)
    ws.on('message', data => this.#gets(String(data)))
    await until(() => ws.readyState === WebSocket.OPEN || this.#peer.closed !== undefined, 'an open connection')
    if (!this.isOpen) throw new Error(`no connection to ${url}`)
  }

  send(payload: string): void {
    this.#peer.send(payload)
  }

  terminate(): void {
    this.#peer.ws.terminate()
  }

  #gets(message: string): void {
    const [kind, epoch = '', offset, ...rest] = message.split(' ')
    const position = { epoch, offset: Number(offset) }
    if (kind === '#') {
      const last = this.position ?? { epoch, offset: 0 }
      if (last.epoch !== epoch || last.offset + 1 !== position.offset)
        this.violations.push(`${epoch} ${offset} after ${last.epoch} ${last.offset}`)
      this.payloads.push(rest.join(' '))
    } else if (kind === '!') {
      this.losses.push(rest.join(' '))
    } else {
      this.live.push(message)
      return
    }
    this.position = position
  }
}
