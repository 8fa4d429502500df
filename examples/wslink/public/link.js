/** Milliseconds before the first attempt to come back; they double, up to the last. */
const [FIRST, LAST] = [500, 10_000]

/**
 * The official client of wslink, and what it leaves to applications: it comes back by itself, listens to the same
 * topics then, and a call ends when its connection does.
 */
export class Link {
  /** `connecting`, `online`, `offline` (and trying again), or `refused`. */
  state = 'connecting'
  #config
  #onState
  #session
  #attempts = 0
  /** Callbacks by topic, and what the client calls a subscription of them. */
  #listeners = new Map()
  #subscriptions = new Map()
  /** Ends of calls that are under way: the client itself would wait for ever. */
  #losses = new Set()

  /** @param onState - called at each change of `state`. */
  constructor({ sessionURL, secret, onState }) {
    this.#config = { sessionURL, secret }
    this.#onState = onState
    this.#connect()
  }

  /** The answer; rejects with `{ code, message, data }` as the server tells, or when the connection is lost. */
  call(method, args = [], kwargs = {}) {
    if (this.#session === undefined) return Promise.reject({ message: 'not connected' })
    return new Promise((resolve, reject) => {
      const lose = () => reject({ message: 'the connection was lost' })
      const call = this.#session.call(method, args, kwargs)
      this.#losses.add(lose)
      call.then(resolve, reject).finally(() => this.#losses.delete(lose))
    })
  }

  /** From now on, also after a loss, until `unlisten`. */
  listen(topic, callback) {
    this.#listeners.set(topic, callback)
    if (this.#session !== undefined) this.#subscribe(topic, callback)
  }

  unlisten(topic) {
    this.#listeners.delete(topic)
    if (this.#session === undefined) return
    this.#subscriptions.get(topic).unsubscribe()
    this.#tell('wslink.unsubscribe', topic)
  }

  #connect() {
    // A new one each time: what an old one may still hear is its own.
    const smart = window.wslink.SmartConnect.newInstance({ config: { ...this.#config } })
    smart.onConnectionReady(connection => {
      this.#session = connection.getSession()
      this.#attempts = 0
      for (const [topic, callback] of this.#listeners) this.#subscribe(topic, callback)
      this.#set('online')
    })
    smart.onConnectionError((connection, { code }) => {
      // Errors of the socket have none, and its close follows.
      if (code === undefined) return
      this.#set('refused')
      connection.getSession().close()
    })
    smart.onConnectionClose(() => this.#closed())
    smart.connect()
  }

  #closed() {
    this.#session = undefined
    for (const lose of this.#losses) lose()
    if (this.state === 'refused') return
    this.#set('offline')
    const wait = Math.min(LAST, FIRST * 2 ** this.#attempts++)
    setTimeout(() => this.#connect(), wait * (0.5 + Math.random() / 2))
  }

  /** The client hears a topic by itself; one line more, and the server sends it nothing else. */
  #subscribe(topic, callback) {
    this.#subscriptions.set(
      topic,
      this.#session.subscribe(topic, ([data]) => callback(data)),
    )
    this.#tell('wslink.subscribe', topic)
  }

  #tell(method, topic) {
    this.call(method, [topic]).catch(error => console.warn(method, topic, error))
  }

  #set(state) {
    this.state = state
    this.#onState(state)
  }
}
