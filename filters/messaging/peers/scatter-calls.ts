import { randomUUID } from 'node:crypto'
import { BoundedMap, CALL_TIMEOUT, CallFailed, type CallOptions, MAX_TIMEOUT } from 'filtered-websocket/kit'
import { type Answer, askClients, type Question } from '../rpc/ask-clients.ts'
import { AnswerLog, type AnswerPage, type Item } from './answer-log.ts'
import type { PeersContext } from './context.ts'
import { ASK_AGAIN_MS, mayAskAgain } from './peer-calls.ts'

/** Calls of other nodes whose answers wait here to be read; the oldest ends. */
const MAX_LOGS = 1000

/** Asks the clients of a node, and for the first page of the log. */
export interface ScatterQuestion extends Question {
  /** Id of the log. */
  readonly log: string
  readonly pattern: string
  /** Milliseconds for the answers of the clients. */
  readonly ms: number
}

/** Asks for the page of a log behind the items that were read. */
export interface PageQuestion {
  readonly log: string
  readonly read: number
}

/** Scatter-gather calls: each node asks its own clients, and the caller reads their answers in pages. */
export class ScatterCalls {
  readonly #context: PeersContext
  readonly #logs = new BoundedMap<string, AnswerLog>(MAX_LOGS)

  constructor(context: PeersContext) {
    this.#context = context
  }

  /** Never rejects: a client without an answer has an error. */
  async call(pattern: string, question: Question, options: CallOptions = {}): Promise<readonly Answer[]> {
    const { nodes, sessions } = this.#context
    const first = { ...question, log: randomUUID(), pattern, ms: options.timeout ?? CALL_TIMEOUT }
    const here = Promise.all(askClients(sessions, pattern, question, options).map(({ answer }) => answer))
    const others = await nodes.others().catch(error => {
      this.#context.failed(error)
      return []
    })
    const elsewhere = others.map(node => this.#gather(node, first, options.signal))
    return (await Promise.all([here, ...elsewhere])).flat()
  }

  /** Answers another node. */
  answer(question: ScatterQuestion | PageQuestion): Promise<AnswerPage> | AnswerPage {
    if (!('pattern' in question))
      return this.#logs.get(question.log)?.page(question.read) ?? { items: [], isLast: true }
    return this.#logs.use(question.log, () => this.#ask(question)).page(0)
  }

  #ask({ log, pattern, ms, ...question }: ScatterQuestion): AnswerLog {
    setTimeout(() => this.#logs.delete(log), Math.min(ms + ASK_AGAIN_MS, MAX_TIMEOUT)).unref()
    return new AnswerLog(question.name, askClients(this.#context.sessions, pattern, question, { timeout: ms }))
  }

  /** The answers of the clients of another node. Never rejects. */
  async #gather(node: string, first: ScatterQuestion, signal: AbortSignal | undefined): Promise<readonly Answer[]> {
    const ids: string[] = []
    const answers: (Answer | undefined)[] = []
    const deadline = performance.now() + first.ms
    let [read, isLast, code] = [0, false, 'gone']
    while (!isLast) {
      const question = read === 0 ? first : { log: first.log, read }
      const timeout = Math.min(ASK_AGAIN_MS, Math.max(1, deadline - performance.now()))
      try {
        const page = (await this.#context.nodes.ask(node, question, { timeout, signal })) as AnswerPage
        for (const text of page.items) {
          const item = JSON.parse(text) as Item
          if ('id' in item) ids.push(item.id)
          else answers[item.index] = answerOf(ids[item.index]!, item)
        }
        read += page.items.length
        isLast = page.isLast
      } catch (error) {
        code = error instanceof CallFailed ? error.code : 'timeout'
        if (signal?.aborted || !(performance.now() < deadline) || !(await mayAskAgain(error))) break
      }
    }
    const why = `: its node ${code === 'timeout' ? 'has not answered in time' : 'has ended'}`
    return ids.map((id, i) => {
      const error = signal?.aborted ? signal.reason : new CallFailed(code, `no answer of client ${id}${why}`)
      return answers[i] ?? { client: undefined, id, error }
    })
  }
}

function answerOf(id: string, { value, error }: Exclude<Item, { id: string }>): Answer {
  const callee = { client: undefined, id }
  return error === undefined ? { ...callee, value } : { ...callee, error: new CallFailed(error.code, error.message) }
}
