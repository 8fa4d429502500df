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

if (window.wslink !== undefined) start()
else fail('not connected', NOT_INSTALLED)

function start() {
  const link = new Link({
    sessionURL: `${location.origin.replace(/^http/, 'ws')}/ws`,
    secret: secretOf(location.hash.slice(1)),
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

/** Browsers do not send the part after # to servers. */
function secretOf(hash) {
  try {
    return decodeURIComponent(hash) || undefined
  } catch {
    // A secret with a % that is not encoded.
    return hash
  }
}

function showState(state) {
  element('status').textContent = WORDS[state]
  document.body.classList.toggle('online', state === 'online')
  if (state !== 'online') element('settings').disabled = true
  if (state === 'refused') fail(WORDS.refused, REFUSED)
}

/** Shows why the page cannot work, instead of controls without effect. */
function fail(status, text) {
  element('status').textContent = status
  element('notice').textContent = text
  element('notice').hidden = false
  document.querySelector('main').hidden = true
}

function followView(link) {
  const view = new View(element('image'), element('rate'))
  const show = image => view.show(image)
  const set = changed => link.call('view.set', [], changed).catch(error => console.warn(error))
  link.listen('view.settings', showSettings)
  link.listen('view.image', show)
  turning(element('image'), link)

  element('images').addEventListener('click', ({ currentTarget: button }) => {
    const isOn = button.ariaChecked !== 'true'
    button.ariaChecked = String(isOn)
    button.lastElementChild.textContent = isOn ? 'on' : 'off'
    if (isOn) link.listen('view.image', show)
    else link.unlisten('view.image')
    view.turn(isOn)
  })
  element('speed').addEventListener('input', ({ target: { valueAsNumber: speed } }) => {
    showSpeed(speed)
    set({ speed })
  })
  element('settings').addEventListener('change', event => {
    if (event.target.name === 'palette') set({ palette: event.target.value })
  })
}

/** All open pages share the settings. */
function showSettings({ palette, speed }) {
  document.querySelector(`[name="palette"][value="${palette}"]`).checked = true
  if (document.activeElement !== element('speed')) showSpeed(speed)
  element('settings').disabled = false
}

function showSpeed(speed) {
  element('speed').value = speed
  element('speed').ariaValueText = `${speed} turns per minute`
  element('turns').textContent = `${speed} turns/min`
}

function addCall(link, form, answers) {
  const { method } = form.dataset
  const button = form.querySelector('button')
  let answer
  // Values that the procedure yields.
  link.listen(`${method}.progress`, part => answer?.progress(part))
  form.addEventListener('submit', async event => {
    event.preventDefault()
    // A disabled button would lose the focus of the keyboard.
    if (answer !== undefined) return
    const args = [...form.querySelectorAll('input')].map(({ type, value }) => (type === 'number' ? +value : value))
    button.ariaDisabled = 'true'
    answer = answers.add(method, args)
    try {
      answer.done(await link.call(method, args))
    } catch (error) {
      answer.failed(error)
    }
    button.ariaDisabled = 'false'
    answer = undefined
  })
}
