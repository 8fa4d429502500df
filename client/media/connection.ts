import { readEnvelope, writeEnvelope, writeId } from '../../protocols/nanollm/envelope.ts'
import { UPLOAD } from '../../protocols/nanollm/kinds.ts'
import type { Connection, ConnectionState } from '../connection.ts'
import { listeners } from '../listeners.ts'
import type { Sendable } from '../queue.ts'
import { type Camera, type CameraOptions, openCamera } from './camera.ts'
import type { Alert, MediaEvents, Told } from './events.ts'
import { type Details, type Kind, type Payloads, packed, parsed, unpacked } from './kinds.ts'
import { type Microphone, type MicrophoneOptions, openMicrophone } from './microphone.ts'
import { openPlayer, type Player, type PlayerOptions } from './player.ts'
import type { Uploadable, Uploaded, UploadOptions } from './upload.ts'
import { Uploads } from './uploads.ts'

/** Bytes that may wait to go out before what the microphone hears is left out: it would come too late. */
const MAX_BEHIND = 2 * 1024 * 1024

export interface SendOptions extends Details {
  /** `false`: it is not sent at all where there is no connection, as is right for what is live; default `true`. */
  readonly queue?: boolean
}

/** A connection with a server that has the filter `media`: messages of every kind, in order. Use `connectMedia`. */
export class MediaConnection {
  readonly #connection: Connection
  readonly #listeners = listeners<MediaEvents>()
  readonly #uploads: Uploads
  /** The id that is expected. */
  #next = 0
  #missed = 0

  /** @param connect - makes the connection underneath, whose messages go out through what it is given. */
  constructor(connect: (outgoing: () => (data: Sendable) => Sendable) => Connection) {
    const connection = connect(numbering)
    this.#connection = connection
    this.#uploads = new Uploads(connection, (type, payload, metadata) => this.#write(type, payload, metadata, false))
    connection.on('open', event => {
      this.#next = 0
      this.#listeners.tell('open', event)
    })
    connection.on('message', data => this.#receive(data))
    connection.on('close', event => this.#listeners.tell('close', event))
  }

  get state(): ConnectionState {
    return this.#connection.state
  }

  /** Messages that wait for a connection. */
  get queued(): number {
    return this.#connection.queued
  }

  /** Bytes handed to the connection that it has not sent. */
  get bufferedAmount(): number {
    return this.#connection.bufferedAmount
  }

  /** Messages of the server that did not arrive, over all connections so far. */
  get missed(): number {
    return this.#missed
  }

  /** Answers how to stop listening. */
  on<E extends keyof MediaEvents>(type: E, listener: (event: MediaEvents[E]) => void): () => void {
    return this.#listeners.add(type, listener)
  }

  /**
   * Sends, now or when there is a connection. `false`: closed, or too much waits already, and it is not sent. A kind may
   * be a number from 8 to 65535, whose meaning is the application's, with bytes. Throws a `TypeError` for what is not of
   * its kind, for no bytes at all, and for metadata of more than 8 bytes.
   */
  send<K extends Kind | number>(
    kind: K,
    payload: K extends Kind ? Payloads[K] : ArrayBuffer | Uint8Array,
    { queue = true, ...details }: SendOptions = {},
  ): boolean {
    const { type, payload: bytes, metadata } = packed(kind, payload, details)
    return this.#write(type, bytes, metadata, queue)
  }

  /**
   * Sends a file of any size in chunks, once there is a connection; of several, two at a time. Rejects with an
   * `UploadError`, whose `code` and `reason` tell why the server refused it or that the connection was lost (it does not
   * begin anew by itself), or with the reason of the signal.
   */
  upload(file: Uploadable, options: UploadOptions = {}): Promise<Uploaded> {
    return this.#uploads.run(file, options)
  }

  /** Sends what the microphone hears; see `MicrophoneOptions`. Only in browsers, on https: or localhost. */
  microphone(options: MicrophoneOptions = {}): Promise<Microphone> {
    return openMicrophone((samples, rate) => {
      if (this.bufferedAmount < MAX_BEHIND) this.send('audio', samples, { rate, queue: false })
    }, options)
  }

  /** Sends pictures of the camera as images that the server does not save. Only in browsers, on https: or localhost. */
  camera(options: CameraOptions = {}): Promise<Camera> {
    const isFree = () => this.state === 'open' && this.bufferedAmount === 0
    return openCamera(jpeg => this.send('image', jpeg, { queue: false }), isFree, options)
  }

  /** Plays the audio that comes, in order. Browsers are silent until somebody has touched the page: call it then. */
  player(options: PlayerOptions = {}): Player {
    const player = openPlayer(options)
    const stop = this.on('audio', ({ payload, ...format }) => player.play({ payload, ...format }))
    player.closed.then(stop)
    return player
  }

  /** For good. */
  close(code = 1000, reason = ''): void {
    this.#connection.close(code, reason)
    this.#uploads.lose(code)
  }

  #write(type: number, payload: Uint8Array, metadata: string, queue: boolean): boolean {
    const message = writeEnvelope({ timestamp: BigInt(Date.now()), type, metadata, payload })
    return queue ? this.#connection.send(message) : this.#connection.sendNow(message)
  }

  #receive(data: string | ArrayBuffer): void {
    try {
      if (typeof data === 'string') throw new Error('a text message; has the server the filter media?')
      const { type, metadata, payload, ...received } = readEnvelope(new Uint8Array(data))
      const id = Number(received.id)
      this.#count(id)
      this.#tell(type, payload, { id, timestamp: Number(received.timestamp), metadata })
    } catch (error) {
      this.#listeners.tell('unreadable', { reason: (error as Error).message, data })
    }
  }

  #count(id: number): void {
    const gap = id - this.#next
    this.#next = id + 1
    if (gap <= 0) return
    this.#missed += gap
    this.#listeners.tell('missed', gap)
  }

  #tell(type: number, payload: Uint8Array<ArrayBuffer>, told: Told): void {
    if (type === UPLOAD) {
      this.#uploads.hear(parsed(payload))
      return
    }
    const { kind, ...content } = unpacked(type, payload, told.metadata)
    if (kind === 'json') this.#json(content.payload, told)
    else this.#listeners.tell(kind, { ...content, ...told } as never)
  }

  /** An alert may come together with something else. */
  #json(payload: unknown, told: Told): void {
    const { alert, ...rest } = Object(payload) as { alert?: Alert }
    if (alert !== undefined) this.#listeners.tell('alert', alert)
    if (alert === undefined) this.#listeners.tell('json', { payload, ...told })
    else if (Object.keys(rest).length > 0) this.#listeners.tell('json', { payload: rest, ...told })
  }
}

/** Numbers the messages of one connection, from 0. */
function numbering(): (data: Sendable) => Sendable {
  let id = 0
  return data => {
    writeId(data as Uint8Array, id++)
    return data
  }
}
