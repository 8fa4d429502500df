import { connect } from '/fws/client.js'
import { controls } from './controls.js'
import { fieldOn } from './field.js'

/** Milliseconds after which a held command is sent again, well before its duration ends. */
const REPEAT = 1000
/** Minimum milliseconds between two commands. */
const GAP = 50

const element = id => document.querySelector(`#${id}`)
const field = fieldOn(element('field'))
/** Commands must not be queued without a connection. */
const connection = connect(location.href.replace(/^http/, 'ws').replace(/#.*/, ''), {
  firstDelay: 250,
  maxDelay: 5000,
  maxQueued: 0,
})
let me
let speed = 6
/** The held command as JSON. */
let wanted
let sentAt = 0
let timer

const { release } = controls(
  command => {
    const text = command && JSON.stringify(command)
    if (text === wanted) return
    wanted = text
    clearTimeout(timer)
    // A stop is not delayed.
    if (wanted === undefined) connection.send('{"command":"stop"}')
    else timer = setTimeout(sendAgain, sentAt + GAP - performance.now())
  },
  () => speed,
)

function sendAgain() {
  sentAt = performance.now()
  connection.send(wanted)
  timer = setTimeout(sendAgain, REPEAT)
}

function receive(text) {
  let message
  try {
    message = JSON.parse(text)
  } catch {
    // A message of another filter, such as the warning of rate-limit.
    message = { error: text }
  }
  if (message.error !== undefined) {
    write('notice', message.error)
    return
  }
  const { you, car, driver } = message
  // A message of another filter, such as `broadcast`.
  if (car === undefined) return
  if (you !== undefined) {
    me = you
    speed = message.speed
    field.begin(message.field, car)
  }
  field.show(car, driver === me)
  write('speed', car.speed.toFixed(2).replace(/^-(0\.00)$/, '$1'))
  write('heading', compass(car.heading))
  write('x', car.x.toFixed(2))
  write('y', car.y.toFixed(2))
  write('driver', driver === null ? 'none' : driver === me ? 'you' : 'someone')
}

/** Degrees clockwise from the top, 0 to 359. */
function compass(radians) {
  const degrees = Math.round((radians * 180) / Math.PI) + 90
  return ((degrees % 360) + 360) % 360
}

/** Writes only changes, as screen readers announce each write. */
function write(id, words) {
  const place = element(id)
  if (place.textContent !== String(words)) place.textContent = words
}

connection.on('open', () => {
  document.body.classList.add('online')
  write('status', 'connected')
  write('notice', '')
})
connection.on('close', ({ retryIn }) => {
  release()
  document.body.classList.remove('online')
  write('status', retryIn === undefined ? 'disconnected; load the page again' : 'offline, trying again')
  write('driver', 'none')
})
connection.on('message', receive)
