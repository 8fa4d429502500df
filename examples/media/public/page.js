import { connectMedia } from '/fws/media.js'
import { Feed } from './feed.js'
import { showAlert } from './notices.js'
import { send } from './sending.js'
import { Voice } from './voice.js'

/** Other devices do not reach a server on a loopback address. */
const HOW_TO_JOIN = /^(localhost|.*\.localhost|127\..*|\[::1\])$/.test(location.hostname)
  ? `Open ${location.href} in a second window; other devices need a server with --host, --key and --cert.`
  : `Others join at ${location.href}`

const element = id => document.getElementById(id)
const media = connectMedia(location.origin.replace(/^http/, 'ws'))
const feed = new Feed(element('feed'), element('hint'), element('latest'))
const voice = new Voice(media)
let me = ''
let here = 0
/** Queued messages with the chosen name. */
let names = 0

media.on('open', () => {
  names = 0
  showStatus()
})
media.on('close', () => {
  // Queued before all messages that are written meanwhile, so that these have the name.
  if (names === 0) takeName(sessionStorage.getItem('name'))
  showStatus()
})
media.on('json', ({ payload }) => {
  if (payload.you !== undefined) {
    me = payload.you
    if (document.activeElement !== element('name')) element('name').value = me
  }
  if (payload.here !== undefined) here = payload.here
  if (payload.after !== undefined) feed.note(`${payload.before} is now ${payload.after}`)
  if (payload.speaks) voice.speaks(payload.from === me ? undefined : payload.from)
  else if (payload.from !== undefined) feed.add(payload, payload.from === me)
  showStatus()
})
media.on('image', ({ payload, mime }) =>
  feed.add({ from: 'camera', picture: new Blob([payload], { type: mime }) }, false),
)
media.on('alert', ({ message, level, category, timeout }) => {
  showAlert(message, level, timeout)
  if (category === 'voice') voice.stopTalking()
  if (category !== 'name') return
  sessionStorage.removeItem('name')
  element('name').value = me
})

/** Without a connection the name is queued. */
function takeName(name) {
  if (name !== null && media.send('json', { name }) && media.state !== 'open') names++
}

element('name').addEventListener('change', ({ target }) => {
  sessionStorage.setItem('name', target.value)
  takeName(target.value)
})
element('name').addEventListener('keydown', ({ key, target }) => {
  if (key === 'Enter') target.blur()
})

function showStatus() {
  const isOpen = media.state === 'open'
  const unsent = media.queued - names
  const waiting = unsent === 0 ? '' : `, ${unsent} to send`
  write('status', isOpen ? `connected, ${here} here` : `offline, trying again${waiting}`)
  write('join', isOpen && here === 1 ? `You are alone here. ${HOW_TO_JOIN}` : '')
  document.body.classList.toggle('online', isOpen)
}

/** Writes only changes, as screen readers announce each write. */
function write(id, words) {
  if (element(id).textContent !== words) element(id).textContent = words
}

element('composer').addEventListener('submit', event => {
  event.preventDefault()
  const { value } = element('line')
  if (value.trim() === '') return
  if (media.send('text', value)) element('line').value = ''
  else showAlert('the queue is full', 'error')
  showStatus()
})

for (const picker of [element('image'), element('file')])
  picker.addEventListener('change', () => {
    for (const file of picker.files) send(media, file)
    // Allows to choose the same file again.
    picker.value = ''
  })

addEventListener('paste', event => {
  for (const file of event.clipboardData.files) send(media, file)
})

const hasFiles = event => event.dataTransfer.types.includes('Files')
addEventListener('dragover', event => {
  if (!hasFiles(event)) return
  event.preventDefault()
  element('drop').hidden = false
})
addEventListener('dragleave', event => {
  if (event.relatedTarget === null) element('drop').hidden = true
})
addEventListener('drop', event => {
  if (!hasFiles(event)) return
  event.preventDefault()
  element('drop').hidden = true
  for (const file of event.dataTransfer.files) send(media, file)
})

takeName(sessionStorage.getItem('name'))
if (matchMedia('(pointer: fine)').matches) element('line').focus()
