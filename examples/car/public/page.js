import { connect } from '/fws/client.js'
import { controls } from './controls.js'
import { fieldOn } from './field.js'

/** Milliseconds after which a command that holds is said again, well before the server gives it up. */
const REPEAT = 1000
/** Milliseconds between two commands, however fast the stick moves. */
const GAP = 50

const element = id => document.querySelector(`#${id}`)
const field = fieldOn(element('field'))
/** A command from before a connection was lost is nobody's wish afterwards. */
const connection = connect(location.href.replace(/^http/, 'ws').replace(/#.*/, ''), {
  firstDelay: 250,
  maxDelay: 5000,
  maxQueued: 0,
})
let me
let speed = 6
/** What the person wants just now, as it goes out. */
let wanted
let said = 0
let timer

const { release } = controls(
  command => {
    const text = command && JSON.stringify(command)
    if (text === wanted) return
    wanted = text
    clearTimeout(timer)
    // At once, unlike all else.
    if (wanted === undefined) connection.send('{"command":"stop"}')
    else timer = setTimeout(sayAgain, said + GAP - performance.now())
  },
  () => speed,
)

function sayAgain() {
  said = performance.now()
  connection.send(wanted)
  timer = setTimeout(sayAgain, REPEAT)
}

function receive(text) {
  let message
  try {
    message = JSON.parse(text)
  } catch {
    // Another filter's words, such as the warning of rate-limit.
    message = { error: text }
  }
  if (message.error !== undefined) {
    write('notice', message.error)
    return
  }
  const { you, car, driver } = message
  // What another filter passes on, such as a command behind which `broadcast` stands.
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
  write('driver', driver === null ? 'nobody' : driver === me ? 'you' : 'someone')
}

/** Degrees clockwise from above, 0 to 359. */
function compass(radians) {
  const degrees = Math.round((radians * 180) / Math.PI) + 90
  return ((degrees % 360) + 360) % 360
}

/** Only what is new, or screen readers would say it again and again. */
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
  write('driver', 'nobody')
})
connection.on('message', receive)
