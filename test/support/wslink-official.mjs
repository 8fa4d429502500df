// Runs a program with an official client in its own process, since the client needs globals of a browser.
// Arguments: the package, the URL, the program. Prints the result of the program as JSON.
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'

const [, , name, url, program] = process.argv
const require = createRequire(import.meta.url)

globalThis.self = globalThis
globalThis.WebSocket = require('ws')
globalThis.window = {
  location: { protocol: 'http:', hostname: '127.0.0.1', host: '127.0.0.1', port: '', pathname: '/' },
}
globalThis.document = { baseURI: 'http://127.0.0.1/' }
// The clients log errors there; standard output has only the result.
console.log = console.error
const { SmartConnect } = require(name)

/** Resolves with a session, or rejects with the error of the server. */
function enter(secret = 's3cret') {
  const smart = SmartConnect.newInstance({ config: { sessionURL: url, secret } })
  return new Promise((resolve, reject) => {
    smart.onConnectionReady(connection => {
      const session = connection.getSession()
      const closed = new Promise(done => smart.onConnectionClose((_, event) => done(event)))
      resolve({
        call: session.call,
        attach: session.addAttachment,
        connection,
        /** Collects the publishes of a topic; `next(count)` waits for the first `count`. */
        collect(topic) {
          const received = []
          const { unsubscribe } = session.subscribe(topic, ([data]) => void received.push(data))
          const next = async count => {
            while (received.length < count) await new Promise(done => setTimeout(done, 2))
            return received.slice(0, count)
          }
          return { received, next, unsubscribe }
        },
        closed,
        async leave() {
          session.close()
          await closed
        },
      })
    })
    smart.onConnectionError((_, error) => reject(error))
    smart.connect()
  })
}

/** Bytes from any type that the client returns. */
async function bytesOf(value) {
  if (value instanceof Blob) return Buffer.from(await value.arrayBuffer())
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
}

const digest = async value =>
  createHash('sha1')
    .update(await bytesOf(value))
    .digest('hex')

/** Deterministic bytes without repetition. */
function pattern(length) {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE((at * 2_654_435_761) >>> 0, at)
  return bytes
}

const AsyncFunction = (async () => {}).constructor
const run = new AsyncFunction('enter', 'bytesOf', 'digest', 'pattern', 'url', program)
const result = await run(enter, bytesOf, digest, pattern, url)
process.stdout.write(JSON.stringify(result ?? null), () => process.exit())
