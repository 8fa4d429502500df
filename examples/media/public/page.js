import { connectMedia } from '/fws/media.js'
import { Feed } from './feed.js'
import { showAlert } from './notices.js'
import { send } from './sending.js'
import { Voice } from './voice.js'

const element = id => document.getElementById(id)
const media = connectMedia(location.origin.replace(/^http/, 'ws'))
const feed = new Feed(element('feed'), element('hint'))
const voice = new Voice(media)
let me = ''
let here = 0

media.on('open', showStatus)
media.on('close', showStatus)
media.on('json', ({ payload }) => {
  if (payload.you !== undefined) me = payload.you
  if (payload.here !== undefined) here = payload.here
  if (payload.speaks) voice.speaks(payload.from === me ? 'you are speaking' : `${payload.from} is speaking`)
  else if (payload.from !== undefined) feed.add(payload, payload.from === me)
  showStatus()
})
media.on('image', ({ payload, mime }) =>
  feed.add({ from: 'camera', picture: new Blob([payload], { type: mime }) }, false),
)
media.on('alert', ({ message, level, category, timeout }) => {
  showAlert(message, level, timeout)
  if (category === 'voice') voice.stopTalking()
})

function showStatus() {
  const isOpen = media.state === 'open'
  const waiting = media.queued === 0 ? '' : `, ${media.queued} to send`
  const words = isOpen ? `${me}, ${here} here` : `offline, trying again${waiting}`
  if (element('status').textContent !== words) element('status').textContent = words
  document.body.classList.toggle('online', isOpen)
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

if (matchMedia('(pointer: fine)').matches) element('line').focus()
