import { Answers } from './answers.js'
import { Link } from './link.js'
import { turning } from './turning.js'
import { View } from './view.js'

const WORDS = {
  connecting: 'connecting',
  online: 'online',
  offline: 'offline, trying again',
  refused: 'refused',
}
const NOT_INSTALLED = 'The official client is not installed. Run npm install wslink, and restart the server.'
const REFUSED = 'The secret is wrong. Put the right one after a # at the end of the address.'

const element = id => document.getElementById(id)

if (window.wslink === undefined) notify(NOT_INSTALLED)
else start()

function start() {
  const link = new Link({
    sessionURL: `${location.origin.replace(/^http/, 'ws')}/ws`,
    // Browsers do not send the part after # to servers.
    secret: decodeURIComponent(location.hash.slice(1)) || undefined,
    onState: state => {
      showState(state)
      if (state === 'online') link.call('view.settings').then(showSettings)
    },
  })
  addEventListener('hashchange', () => location.reload())
  followView(link)
  const answers = new Answers(element('answers'), element('hint'))
  for (const form of document.querySelectorAll('#calls form')) addCall(link, form, answers)
}

function showState(state) {
  element('status').textContent = WORDS[state]
  document.body.classList.toggle('online', state === 'online')
  if (state === 'refused') notify(REFUSED)
}

function notify(text) {
  element('notice').textContent = text
  element('notice').hidden = false
}

function followView(link) {
  const view = new View(element('image'), element('rate'))
  const show = image => view.show(image)
  const set = changed => link.call('view.set', [], changed).catch(error => console.warn(error))
  link.listen('view.settings', showSettings)
  link.listen('view.image', show)
  turning(element('image'), link)

  element('images').addEventListener('click', ({ currentTarget: button }) => {
    const isOn = button.ariaPressed !== 'true'
    button.ariaPressed = String(isOn)
    if (isOn) link.listen('view.image', show)
    else link.unlisten('view.image')
    view.turn(isOn)
  })
  element('speed').addEventListener('input', event => set({ speed: event.target.valueAsNumber }))
  element('settings').addEventListener('change', event => {
    if (event.target.name === 'palette') set({ palette: event.target.value })
  })
  element('settings').addEventListener('submit', event => event.preventDefault())
}

/** All open pages share the settings. */
function showSettings({ palette, speed }) {
  element('settings').elements.palette.value = palette
  if (document.activeElement !== element('speed')) element('speed').value = speed
}

function addCall(link, form, answers) {
  const { method } = form.dataset
  const button = form.querySelector('button')
  let answer
  // Values that the procedure yields.
  link.listen(`${method}.progress`, part => answer?.progress(part))
  form.addEventListener('submit', async event => {
    event.preventDefault()
    const args = [...form.querySelectorAll('input')].map(({ type, value }) => (type === 'number' ? +value : value))
    button.disabled = true
    answer = answers.add(method, args)
    try {
      answer.done(await link.call(method, args))
    } catch (error) {
      answer.failed(error)
    }
    button.disabled = false
    answer = undefined
  })
}
