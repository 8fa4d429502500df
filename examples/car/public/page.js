import { connect } from '/fws/client.js'
import { controls } from './controls.js'
import { fieldOn } from './field.js'

/** Milliseconds after which a held command is sent again, well before its duration ends. */
const REPEAT = 1000
/** Minimum milliseconds between two commands. */
const GAP = 50
/** Milliseconds for which an error is shown. */
const NOTICE = 8000

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
let noticeTimer

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
    message = Object(JSON.parse(text))
  } catch {
    // A message of another filter, such as the warning of rate-limit.
    message = { error: text }
  }
  if (message.error !== undefined) {
    write('notice', message.error)
    clearTimeout(noticeTimer)
    noticeTimer = setTimeout(write, NOTICE, 'notice', '')
    return
  }
  const { you, car, driver } = message
  // A message of another filter, such as `broadcast`.
  if (car === undefined) return
  if (you !== undefined) {
    me = you
    speed = message.speed
    field.setSize(message.field)
  }
  field.show(car, driver === me)
  write('speed', car.speed.toFixed(2).replace(/^-(0\.00)$/, '$1'))
  write('heading', compass(car.heading))
  write('x', car.x.toFixed(2))
  write('y', car.y.toFixed(2))
  write('driver', driver === null ? 'none' : driver === me ? 'you' : 'someone')
  write('wall', car.isAtWall ? 'At a wall. Drive away from it, or press Reset.' : '')
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

function setOnline(isOnline) {
  document.body.classList.toggle('online', isOnline)
  for (const control of document.querySelectorAll('#stick, .pad button')) control.ariaDisabled = String(!isOnline)
}

element('reset').addEventListener('click', () => {
  release()
  connection.send('{"command":"reset"}')
})

connection.on('open', () => {
  setOnline(true)
  write('status', 'connected')
  write('notice', '')
})
connection.on('close', ({ retryIn }) => {
  release()
  setOnline(false)
  write('status', retryIn === undefined ? 'disconnected; load the page again' : 'offline, trying again')
  // The last values may be wrong by now.
  for (const id of ['speed', 'heading', 'x', 'y', 'driver']) write(id, '–')
  write('wall', '')
})
connection.on('message', receive)
setOnline(false)
