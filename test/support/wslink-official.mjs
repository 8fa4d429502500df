// A program of users: the official client, in a process of its own, since it needs globals of a browser.
// Arguments: the package, the server, a program. What the program returns is printed as JSON.
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
// The clients say there what went wrong; standard output is for the result.
console.log = console.error
const { SmartConnect } = require(name)

/** Settles with a session when the server lets it in, rejects with what it says else. */
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
        /** What is published on a topic, as it comes; `next(count)` waits for so many in all. */
        hear(topic) {
          const heard = []
          const { unsubscribe } = session.subscribe(topic, ([data]) => void heard.push(data))
          const next = async count => {
            while (heard.length < count) await new Promise(done => setTimeout(done, 2))
            return heard.slice(0, count)
          }
          return { heard, next, unsubscribe }
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

/** Bytes, as whichever kind the client gives them. */
async function bytesOf(value) {
  if (value instanceof Blob) return Buffer.from(await value.arrayBuffer())
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
}

const digest = async value =>
  createHash('sha1')
    .update(await bytesOf(value))
    .digest('hex')

/** Not random, and no two places alike. */
function pattern(length) {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE((at * 2_654_435_761) >>> 0, at)
  return bytes
}

const AsyncFunction = (async () => {}).constructor
const run = new AsyncFunction('enter', 'bytesOf', 'digest', 'pattern', 'url', program)
const result = await run(enter, bytesOf, digest, pattern, url)
process.stdout.write(JSON.stringify(result ?? null), () => process.exit())
