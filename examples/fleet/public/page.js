import { connectMessaging } from '/fws/messaging.js'
import { log } from './log.js'
import { skyOn } from './sky.js'
import { tableIn } from './table.js'
import { copterCount, timeOf, write } from './words.js'

const element = id => document.querySelector(`#${id}`)
const sky = skyOn(element('sky'))
const table = tableIn(element('rows'), { cut, kill: confirmKill })
const { add, addResult } = log(element('log'))
const station = connectMessaging(location.href.replace(/^http/, 'ws').replace(/#.*/, ''), {
  firstDelay: 250,
  maxDelay: 5000,
})
/** Name of the user's file at the station. */
const OWN = 'own.csv'
let own
let isNew = true
let isOnline = false

/** Words for copters that accept a command, and for those that refuse it. */
const COMMANDS = {
  arm: ['armed', 'not armed'],
  path: ['path accepted', 'path not accepted'],
  takeoff: ['take-off sent', 'no take-off'],
  start: ['started', 'not started'],
  pause: ['pause sent', 'pause not sent'],
  land: ['landing sent', 'landing not sent'],
  led_fill: ['lights sent', 'lights not sent'],
}

/** Sends a command to all copters. */
async function command(name, args) {
  const outcome = name === 'path' ? await sendPath() : await station.call(name, args)
  addResult(outcome, ...COMMANDS[name])
}

function showStarted({ at, late, skew }) {
  const count = Object.keys(late).length
  table.started(late)
  const apart = count > 1 ? `, first and last ${skew.toFixed(1)} ms apart` : ''
  const words = count === 0 ? 'No copter has started' : `${copterCount(count)} started at ${timeOf(at, 3)}${apart}`
  write(element('started'), words)
}

async function sendPath() {
  const name = element('paths').value
  if (name === OWN && own !== undefined) await station.sendFile(own, OWN)
  return station.call('path', [name], {}, { timeout: 30_000 })
}

function cut(id) {
  tryTo(() => station.call('cut', [id, 6]))
}

function confirmKill(id) {
  const dialog = element('kill')
  write(element('kill-title'), `Kill the process of ${id}?`)
  // The value of an earlier answer stays if the dialog is closed by Escape.
  dialog.returnValue = ''
  dialog.onclose = () => dialog.returnValue === 'kill' && tryTo(() => station.call('kill', [id]))
  dialog.showModal()
}

async function tryTo(run) {
  try {
    await run()
  } catch (error) {
    add('server', error.message, { isTrouble: true })
  }
}

function show(copter) {
  sky.show(copter)
  table.show(copter)
  showSummary()
}

function showSummary() {
  write(element('count'), table.summary)
  const [next, words] = isOnline ? table.next : [undefined, 'Commands need the server']
  write(element('next'), words)
  for (const button of document.querySelectorAll('[data-command]'))
    button.ariaCurrent = button.dataset.command === next ? 'step' : null
}

/** Without a connection commands must not be queued, and the state of copters is not known. */
function setOnline(value, words) {
  isOnline = value
  document.body.classList.toggle('online', isOnline)
  write(element('status'), words)
  for (const control of document.querySelectorAll('main :is(button, input, select)')) control.disabled = !isOnline
  if (isOnline) return
  element('kill').close()
  for (const copter of table.copters) show({ ...copter, link: undefined })
  showSummary()
}

function showPath(path) {
  sky.path(path.points)
  addPath(path.name)
  element('paths').value = path.name
}

function addPath(name, label = name.replace(/\.csv$/, '')) {
  const select = element('paths')
  const existing = [...select.options].find(({ value }) => value === name)
  if (existing === undefined) select.add(new Option(label, name))
  else if (name === OWN && own !== undefined) existing.label = own.name
}

function choose([file]) {
  if (file === undefined) return
  own = file
  addPath(OWN, file.name)
  element('paths').value = OWN
  add('path', `${file.name} is selected, but not sent`)
}

for (const button of document.querySelectorAll('[data-command]'))
  button.addEventListener('click', async () => {
    // A command is sent once, also on a double click.
    if (button.ariaBusy === 'true') return
    button.ariaBusy = 'true'
    await tryTo(() => command(button.dataset.command))
    button.ariaBusy = 'false'
  })
for (const button of document.querySelectorAll('[data-light]')) {
  const light = button.dataset.light.split(' ').map(Number)
  button.style.setProperty('--light', `rgb(${light.join(' ')})`)
  button.addEventListener('click', () => tryTo(() => command('led_fill', light)))
}
element('own').addEventListener('change', ({ target }) => {
  choose(target.files)
  // Allows to choose the same file again.
  target.value = ''
})
addEventListener('dragover', event => {
  event.preventDefault()
  element('drop').hidden = false
})
addEventListener('dragleave', ({ relatedTarget }) => {
  if (relatedTarget === null) element('drop').hidden = true
})
addEventListener('drop', event => {
  event.preventDefault()
  element('drop').hidden = true
  choose(event.dataTransfer.files)
})

const subscribed = tryTo(() =>
  station.subscribe('telemetry', (action, [value]) => {
    if (action === 'copter') show(value)
    else if (action === 'path') showPath(value)
    else if (action === 'starting') write(element('started'), 'Starting in two seconds, all at the same time')
    else if (action === 'started') showStarted(value)
    else if (action === 'event') add(value.id, value.text, value)
  }),
)
station.on('open', async () => {
  setOnline(true, 'connected')
  // Changes after the answer must not be missed.
  await subscribed
  await tryTo(async () => {
    const { copters, paths, path, started, events } = await station.call('fleet')
    for (const name of paths) addPath(name)
    for (const copter of copters) show(copter)
    showSummary()
    if (path !== null) showPath(path)
    if (started !== null) showStarted(started)
    if (isNew) for (const event of events) add(event.id, event.text, event)
    isNew = false
  })
})
station.on('close', ({ retryIn }) => {
  setOnline(false, retryIn === undefined ? 'disconnected; load the page again' : 'offline, trying again')
})
setOnline(false, 'connecting')
