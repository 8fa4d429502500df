import { readEnvelope, writeEnvelope, writeId } from '../../protocols/nanollm/envelope.ts'
import { UPLOAD } from '../../protocols/nanollm/kinds.ts'
import type { Connection, ConnectionState } from '../connection.ts'
import { listeners } from '../listeners.ts'
import type { Sendable } from '../queue.ts'
import { type Camera, type CameraOptions, openCamera } from './camera.ts'
import type { Alert, MediaEvents, MessageHeader } from './events.ts'
import { type Details, decode, decodeJson, encode, type Kind, type Payloads } from './kinds.ts'
import { type Microphone, type MicrophoneOptions, openMicrophone } from './microphone.ts'
import { openPlayer, type Player, type PlayerOptions } from './player.ts'
import type { Uploadable, Uploaded, UploadOptions } from './upload.ts'
import { Uploads } from './uploads.ts'

/** Bytes in the socket's buffer from which on sound of the microphone is dropped: it would arrive too late. */
const MAX_BUFFERED = 2 * 1024 * 1024

export interface SendOptions extends Details {
  /** `false` drops the message if the connection is not open, as for live audio. Default: true, it waits. */
  readonly queue?: boolean
}

/** A connection to a server with the filter `media`. Created by `connectMedia`. */
export class MediaConnection {
  readonly #connection: Connection
  readonly #listeners = listeners<MediaEvents>()
  readonly #uploads: Uploads
  /** Expected id of the next message. */
  #nextId = 0
  #missed = 0

  /** @param connect - opens the connection; messages MUST pass the function that `outgoing` returns. */
  constructor(connect: (outgoing: () => (data: Sendable) => Sendable) => Connection) {
    const connection = connect(numberMessages)
    this.#connection = connection
    this.#uploads = new Uploads(connection, (type, payload, metadata) => this.#write(type, payload, metadata, false))
    connection.on('open', event => {
      this.#nextId = 0
      this.#listeners.emit('open', event)
    })
    connection.on('message', data => this.#receive(data))
    connection.on('close', event => this.#listeners.emit('close', event))
  }

  get state(): ConnectionState {
    return this.#connection.state
  }

  /** Number of messages that wait for a connection. */
  get queued(): number {
    return this.#connection.queued
  }

  /** Bytes in the socket's buffer. */
  get bufferedAmount(): number {
    return this.#connection.bufferedAmount
  }

  /** Number of messages that the server has not sent, over all connections. */
  get missed(): number {
    return this.#missed
  }

  /**
   * Adds a listener. Returns a function that removes it.
   *
   * @example
   * media.on('image', ({ payload, mime }) => show(new Blob([payload], { type: mime })))
   */
  on<E extends keyof MediaEvents>(type: E, listener: (event: MediaEvents[E]) => void): () => void {
    return this.#listeners.add(type, listener)
  }

  /**
   * Sends a message; without a connection it waits. A number from 8 to 65535 is a custom type, with bytes as payload.
   *
   * @returns `false`: the message is not sent, because the connection is closed or the queue is full.
   * @throws TypeError for a payload that does not fit the kind, an empty payload, or metadata of more than 8 bytes.
   * @example
   * media.send('image', await file.arrayBuffer(), { metadata: 'png' })
   */
  send<K extends Kind | number>(
    kind: K,
    payload: K extends Kind ? Payloads[K] : ArrayBuffer | Uint8Array,
    { queue = true, ...details }: SendOptions = {},
  ): boolean {
    const { type, payload: bytes, metadata } = encode(kind, payload, details)
    return this.#write(type, bytes, metadata, queue)
  }

  /**
   * Sends a file in chunks when the connection is open, two files at a time. An upload is not resumed after a reconnect.
   *
   * @throws (rejects) UploadError with `code` and `reason`; the signal's reason; TypeError for an invalid file.
   * @example
   * const { url } = await media.upload(file, { onProgress: ({ received, size }) => bar(received / size) })
   */
  upload(file: Uploadable, options: UploadOptions = {}): Promise<Uploaded> {
    return this.#uploads.run(file, options)
  }

  /** Sends sound of the microphone as `audio`. In browsers only, on HTTPS or localhost. */
  microphone(options: MicrophoneOptions = {}): Promise<Microphone> {
    return openMicrophone((samples, rate) => {
      if (this.bufferedAmount < MAX_BUFFERED) this.send('audio', samples, { rate, queue: false })
    }, options)
  }

  /** Sends pictures of the camera as `image`, which the server does not save. In browsers only, on HTTPS or localhost. */
  camera(options: CameraOptions = {}): Promise<Camera> {
    const isReady = () => this.state === 'open' && this.bufferedAmount === 0
    return openCamera(jpeg => this.send('image', jpeg, { queue: false }), isReady, options)
  }

  /** Plays `audio` messages in order. Call it in a user gesture: before the first one, browsers are silent. */
  player(options: PlayerOptions = {}): Player {
    const player = openPlayer(options)
    const stop = this.on('audio', player.play)
    player.closed.then(stop)
    return player
  }

  /** Closes the connection without a reconnect. */
  close(code = 1000, reason = ''): void {
    this.#connection.close(code, reason)
    this.#uploads.handleClose(code)
  }

  #write(type: number, payload: Uint8Array, metadata: string, queue: boolean): boolean {
    const message = writeEnvelope({ timestamp: BigInt(Date.now()), type, metadata, payload })
    return queue ? this.#connection.send(message) : this.#connection.sendNow(message)
  }

  #receive(data: string | ArrayBuffer): void {
    try {
      if (typeof data === 'string') throw new Error('a text message; does the server have the filter media?')
      const { type, metadata, payload, id, timestamp } = readEnvelope(new Uint8Array(data))
      const header = { id: Number(id), timestamp: Number(timestamp), metadata }
      this.#checkId(header.id)
      this.#dispatch(type, payload, header)
    } catch (error) {
      this.#listeners.emit('unreadable', { reason: (error as Error).message, data })
    }
  }

  #checkId(id: number): void {
    const gap = id - this.#nextId
    this.#nextId = id + 1
    if (gap <= 0) return
    this.#missed += gap
    this.#listeners.emit('missed', gap)
  }

  #dispatch(type: number, payload: Uint8Array<ArrayBuffer>, header: MessageHeader): void {
    if (type === UPLOAD) {
      this.#uploads.handleReply(decodeJson(payload))
      return
    }
    const { kind, ...content } = decode(type, payload, header.metadata)
    if (kind === 'json') this.#dispatchJson(content.payload, header)
    else this.#listeners.emit(kind, { ...content, ...header } as never)
  }

  /** An object may have an alert and other properties. */
  #dispatchJson(payload: unknown, header: MessageHeader): void {
    const { alert, ...rest } = Object(payload) as { alert?: Alert }
    if (alert !== undefined) this.#listeners.emit('alert', alert)
    if (alert === undefined) this.#listeners.emit('json', { payload, ...header })
    else if (Object.keys(rest).length > 0) this.#listeners.emit('json', { payload: rest, ...header })
  }
}

/** Numbers the messages of one connection, from 0. */
function numberMessages(): (data: Sendable) => Sendable {
  let id = 0
  return data => {
    writeId(data as Uint8Array, id++)
    return data
  }
}
