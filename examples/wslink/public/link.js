/** Milliseconds before the first reconnect, doubled up to the maximum. */
const [FIRST, MAX] = [500, 10_000]

/**
 * The official client of wslink with reconnects: subscribes again to its topics, and rejects calls whose connection is lost.
 */
export class Link {
  /** `connecting`, `online`, `offline` (it will reconnect), or `refused`. */
  state = 'connecting'
  #config
  #onState
  #session
  #attempts = 0
  /** Callbacks by topic, and subscriptions of the client by topic. */
  #listeners = new Map()
  #subscriptions = new Map()
  /** Reject pending calls, which the client leaves pending after a disconnect. */
  #rejections = new Set()

  /** @param onState - called at each change of `state`. */
  constructor({ sessionURL, secret, onState }) {
    this.#config = { sessionURL, secret }
    this.#onState = onState
    this.#connect()
  }

  /** Settles with the result. Rejects with `{ code, message, data }` of the server, or when the connection is lost. */
  call(method, args = [], kwargs = {}) {
    if (this.#session === undefined) return Promise.reject({ message: 'not connected' })
    return new Promise((resolve, reject) => {
      const rejectLost = () => reject({ message: 'the connection was lost' })
      const call = this.#session.call(method, args, kwargs)
      this.#rejections.add(rejectLost)
      call.then(resolve, reject).finally(() => this.#rejections.delete(rejectLost))
    })
  }

  /** Subscribes until `unlisten`, also after a reconnect. */
  listen(topic, callback) {
    this.#listeners.set(topic, callback)
    if (this.#session !== undefined) this.#subscribe(topic, callback)
  }

  unlisten(topic) {
    this.#listeners.delete(topic)
    if (this.#session === undefined) return
    this.#subscriptions.get(topic).unsubscribe()
    this.#notify('wslink.unsubscribe', topic)
  }

  #connect() {
    // A new object each time, as an old one may still emit events.
    const smart = window.wslink.SmartConnect.newInstance({ config: { ...this.#config } })
    smart.onConnectionReady(connection => {
      this.#session = connection.getSession()
      this.#attempts = 0
      for (const [topic, callback] of this.#listeners) this.#subscribe(topic, callback)
      this.#set('online')
    })
    smart.onConnectionError((connection, { code }) => {
      // Errors of the socket have no code, and a close event follows.
      if (code === undefined) return
      this.#set('refused')
      connection.getSession().close()
    })
    smart.onConnectionClose(() => this.#closed())
    smart.connect()
  }

  #closed() {
    this.#session = undefined
    for (const reject of this.#rejections) reject()
    if (this.state === 'refused') return
    this.#set('offline')
    const wait = Math.min(MAX, FIRST * 2 ** this.#attempts++)
    setTimeout(() => this.#connect(), wait * (0.5 + Math.random() / 2))
  }

  /** The official client only filters topics; this call makes the server send only subscribed ones. */
  #subscribe(topic, callback) {
    this.#subscriptions.set(
      topic,
      this.#session.subscribe(topic, ([data]) => callback(data)),
    )
    this.#notify('wslink.subscribe', topic)
  }

  #notify(method, topic) {
    this.call(method, [topic]).catch(error => console.warn(method, topic, error))
  }

  #set(state) {
    this.state = state
    this.#onState(state)
  }
}
