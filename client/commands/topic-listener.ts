import { commandError, optionError, PositionFile, positionIn } from 'filtered-websocket/kit'
import type { Position, Subscription } from '../topics.ts'
import { shown } from './handshake.ts'
import type { Printer } from './printer.ts'
import type { Target } from './target.ts'

interface TopicOptions {
  readonly topic: string
  readonly after: string | undefined
  readonly newest: number | undefined
  readonly 'position-file': string | undefined
}

/** Prints the messages of a topic, from a position on. */
export class TopicListener {
  readonly #target: Target
  readonly #printer: Printer
  readonly #file: PositionFile | undefined
  readonly #subscription: Subscription
  #isSaved = true
  #saving: Promise<void> | undefined

  /** @throws Error `ERR_OPTION` */
  static async start(target: Target, printer: Printer, options: TopicOptions): Promise<TopicListener> {
    const { after, 'position-file': path } = options
    const position = after === undefined ? undefined : positionIn(after)
    if (after !== undefined && position === undefined)
      throw optionError(`--after takes {"epoch":"...","offset":7}, received ${JSON.stringify(after)}`)
    const file = path === undefined ? undefined : new PositionFile('--position-file', path)
    return new TopicListener(target, printer, options, file, (await file?.read()) ?? position)
  }

  private constructor(
    target: Target,
    printer: Printer,
    { topic, newest = 0 }: TopicOptions,
    file: PositionFile | undefined,
    after: Position | undefined,
  ) {
    this.#target = target
    this.#printer = printer
    this.#file = file
    this.#subscription = target.connectTopics().subscribe(topic, {
      after,
      newest,
      onMessage: data => {
        const { position } = this.#subscription
        const payload = typeof data === 'string' ? data : JSON.stringify(data)
        printer.print({ payload, ...(position && { position }) })
        this.#save()
      },
      onSubscribed: () => this.#save(),
      onReset: reason => target.report(`messages of ${topic} are missing: ${shown(reason)}`),
      onEnd: ({ code, message }) => target.fail(commandError(`no subscription to ${topic}: ${code} ${shown(message)}`)),
    })
  }

  /** Settles when the position of the last message is saved. */
  get saving(): Promise<void> | undefined {
    return this.#saving
  }

  /** Saves the position of the last message as soon as the reader has accepted the message. */
  #save(): void {
    if (this.#file === undefined) return
    this.#isSaved = false
    this.#saving ??= this.#saveAll(this.#file).catch(error => this.#target.fail(error))
  }

  async #saveAll(file: PositionFile): Promise<void> {
    while (!this.#isSaved) {
      this.#isSaved = true
      const { position } = this.#subscription
      if (position === undefined)
        throw commandError('--position-file needs a topic that is kept; filter streams keeps topics by rules')
      await this.#printer.flush()
      if (!this.#printer.isGone) await file.write(position).catch(refused)
    }
    this.#saving = undefined
  }
}

function refused(error: Error): never {
  throw commandError(`--position-file cannot be written: ${error.message}`)
}
