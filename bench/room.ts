import type { Connection, Listener } from './connection.ts'
import type { Histogram } from './histogram.ts'
import type { Template } from './template.ts'

/** A sender with its receivers, and the state of its messages. */
export class Room {
  readonly sender: Connection
  readonly #template: Template
  readonly #receivers: Receiver[] = []
  /** Due time of each message. */
  readonly sentAt: number[] = []
  /** Messages to keep in flight; 0 disables. */
  inflight = 0
  received = 0
  /** Number of the first message with a measured latency. */
  #measuredFrom = Number.POSITIVE_INFINITY
  #latencies: Histogram | undefined

  constructor(sender: Connection, template: Template) {
    this.sender = sender
    this.#template = template
  }

  get sent(): number {
    return this.sentAt.length
  }

  /** Outstanding deliveries. */
  get missing(): number {
    return this.sent * this.#receivers.length - this.received
  }

  get disorder(): Disorder {
    const total = { doubled: 0, reordered: 0, gaps: 0 }
    for (const { doubled, reordered, gaps } of this.#receivers) {
      total.doubled += doubled
      total.reordered += reordered
      total.gaps += gaps.size
    }
    return total
  }

  /** @param isMeasured - whether its latency counts. */
  add(connection: Connection, check: boolean, isMeasured: boolean): void {
    const receiver = new Receiver(this, check, isMeasured)
    this.#receivers.push(receiver)
    connection.listener = receiver
  }

  /** Records the latencies of later messages in microseconds. */
  measure(latencies: Histogram): void {
    this.#measuredFrom = this.sent
    this.#latencies = latencies
  }

  /** Ends the measurement; missing messages count as arriving now. */
  measured(): void {
    const now = performance.now()
    for (const { isMeasured, next } of this.#receivers)
      if (isMeasured) for (let number = next; number < this.sent; number++) this.arrivedAt(number, now)
    this.#latencies = undefined
  }

  arrivedAt(number: number, now: number): void {
    if (number >= this.#measuredFrom) this.#latencies?.record((now - this.sentAt[number]!) * 1000)
  }

  /** Sends messages until `inflight` is reached. */
  fill(): void {
    const receivers = this.#receivers.length
    const messages = this.inflight - (this.sent - Math.floor(this.received / receivers))
    if (messages > 0) this.send(messages, performance.now(), 0)
  }

  /** @param at - due time of the first message; the others follow every `period` milliseconds. */
  send(messages: number, at: number, period: number): void {
    const frames: Buffer[] = []
    for (let i = 0; i < messages; i++) {
      frames.push(this.#template.frame(this.sent))
      this.sentAt.push(at + i * period)
    }
    this.sender.socket.write(messages === 1 ? frames[0]! : Buffer.concat(frames))
  }
}

export interface Disorder {
  readonly doubled: number
  readonly reordered: number
  /** Missing messages before received ones. */
  readonly gaps: number
}

class Receiver implements Listener {
  readonly #room: Room
  readonly numbered: ((number: number, now: number) => void) | undefined
  readonly isMeasured: boolean
  /** One more than the highest received number. */
  next = 0
  readonly gaps = new Set<number>()
  doubled = 0
  reordered = 0

  constructor(room: Room, check: boolean, isMeasured: boolean) {
    this.#room = room
    this.isMeasured = isMeasured
    this.numbered = check ? (number, now) => this.#check(number, now) : undefined
  }

  arrived(messages: number): void {
    this.#room.received += messages
    if (this.#room.inflight > 0) this.#room.fill()
  }

  #check(number: number, now: number): void {
    if (number >= this.next) {
      while (this.next < number) this.gaps.add(this.next++)
      this.next++
    } else if (this.gaps.delete(number)) {
      this.reordered++
    } else {
      this.doubled++
    }
    if (this.isMeasured) this.#room.arrivedAt(number, now)
  }
}
