import { randomUUID } from 'node:crypto'
import type { Awaitable, Client, Sets } from 'filtered-websocket'
import { answerInTime, CALL_TIMEOUT, CallFailed, type CallOptions } from 'filtered-websocket/kit'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import { failureIn } from '../rpc/outcome.ts'
import type { Session } from '../rpc/session.ts'
import type { Link, News } from './link.ts'
import { type Answer, askAll, type Question } from './roll.ts'

const NODES = 'messaging:nodes'
/** Of this node that other nodes have still to answer; further ones ask this node alone. */
const MAX_ROLLS = 1000

type Heard = Extract<News, { type: 'roll' | 'asked' | 'told' }>

/** What one node has told so far. */
interface Told {
  /** Whom it has asked; `undefined`: it has not said. */
  ids: readonly string[] | undefined
  readonly answers: Map<number, Answer>
}

interface Roll {
  readonly nodes: Map<string, Told>
  /** All have told all, or nobody waits any more. */
  end(): void
}

export interface RollCallOptions {
  readonly link: Link
  /** Names this node. */
  readonly node: string
  readonly sessions: ReadonlyMap<Client, Session>
  /** In which nodes tell that they are there; `undefined`: this one knows of no other. */
  readonly sets: Sets | undefined
  failed(error: unknown): void
}

/** Calls to the clients of all nodes: each node asks its own, and tells what they answer. */
export class RollCall {
  readonly #options: RollCallOptions
  readonly #rolls = new Map<string, Roll>()

  constructor(options: RollCallOptions) {
    this.#options = options
  }

  /** @throws (rejects) Error when the storage does not answer */
  async start(): Promise<void> {
    const { sets, node } = this.#options
    await answerInTime(sets?.add(NODES, node))
  }

  /** @throws (rejects) Error as above */
  async stop(): Promise<void> {
    const { sets, node } = this.#options
    await answerInTime(sets?.remove(NODES, node))
  }

  /** Never rejects: who has not answered in time is in the list with that error. */
  async call(pattern: string, question: Question, options: CallOptions = {}): Promise<readonly Answer[]> {
    const here = askAll(this.#options.sessions, pattern, question, options).map(({ answer }) => answer)
    const elsewhere = this.#askNodes(pattern, question, options).catch(error => {
      this.#options.failed(error)
      return []
    })
    const [ours, theirs] = await Promise.all([Promise.all(here), elsewhere])
    return [...ours, ...theirs]
  }

  hear(news: Heard, node: string): void {
    if (news.type === 'roll') {
      this.#answer(news, node)
      return
    }
    const roll = this.#rolls.get(news.id)
    const told = roll?.nodes.get(node)
    if (roll === undefined || told === undefined) return
    if (news.type === 'asked') {
      told.ids = news.ids
    } else {
      const { index, value, error } = news
      const whose = { client: undefined, id: told.ids?.[index] ?? '' }
      const answer =
        error === undefined ? { ...whose, value } : { ...whose, error: new CallFailed(error.code, error.message) }
      told.answers.set(index, answer)
    }
    if ([...roll.nodes.values()].every(isComplete)) roll.end()
  }

  async #askNodes(
    pattern: string,
    question: Question,
    { timeout = CALL_TIMEOUT, signal }: CallOptions,
  ): Promise<Answer[]> {
    const { sets, node: self, link } = this.#options
    if (sets === undefined || this.#rolls.size >= MAX_ROLLS) return []
    const id = randomUUID()
    const nodes = new Map<string, Told>()
    const ended = new Promise<void>(resolve => {
      this.#rolls.set(id, { nodes, end: resolve })
    })
    const timer = setTimeout(() => this.#rolls.get(id)?.end(), timeout)
    const abort = () => this.#rolls.get(id)?.end()
    signal?.addEventListener('abort', abort)
    try {
      for (const node of await answerInTime(sets.get(NODES) as Awaitable<ReadonlySet<string>>))
        if (node !== self) nodes.set(node, { ids: undefined, answers: new Map() })
      if (nodes.size === 0 || signal?.aborted) return []
      link.send({ type: 'roll', id, pattern, ...question, ms: timeout })
      await ended
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      this.#rolls.delete(id)
    }
    return [...nodes.values()].flatMap(told => answersIn(told, signal?.reason))
  }

  #answer({ id, pattern, name, args, kwargs, ms }: Extract<News, { type: 'roll' }>, node: string): void {
    const { sessions, link } = this.#options
    const asked = askAll(sessions, pattern, { name, args, kwargs }, { timeout: ms })
    link.send({ type: 'asked', id, ids: asked.map(({ id }) => id) }, node)
    for (const [index, { answer }] of asked.entries()) {
      void answer.then(({ value, error }) => {
        const what = error === undefined ? { value } : { error: failureIn(`request ${shown(name)}`, error) }
        link.send({ type: 'told', id, index, ...what }, node)
      })
    }
  }
}

function isComplete({ ids, answers }: Told): boolean {
  return ids !== undefined && answers.size === ids.length
}

/** @param why - the call was given up, if it was. */
function answersIn({ ids = [], answers }: Told, why: unknown): readonly Answer[] {
  const late = (id: string) => why ?? new CallFailed('timeout', `client ${id} of another node has not answered in time`)
  return ids.map((id, index) => answers.get(index) ?? { client: undefined, id, error: late(id) })
}
