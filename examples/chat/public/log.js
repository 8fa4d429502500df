import { me, writePerson } from './people.js'

const MAX_LINES = 500
/** Pixels from the end at which the log follows new lines. */
const NEAR = 40
const log = document.querySelector('#log')
const newer = document.querySelector('#newer')
let isAtEnd = true

export function clearLog() {
  log.replaceChildren()
  isAtEnd = true
  newer.hidden = true
}

/** Shows a message once. @param key - the same for the same message. */
export function showMessage({ id, name, text, was, at }, key) {
  if (log.querySelector(`[data-key="${CSS.escape(key)}"]`)) return
  const item = document.createElement('p')
  item.dataset.key = key
  item.dir = 'auto'
  if (was !== undefined) {
    item.className = 'notice'
    item.append(`${was} is ${name} now`)
  } else {
    const author = document.createElement('bdi')
    writePerson(author, id, name)
    item.className = 'said'
    item.classList.toggle('mine', id === me)
    item.classList.toggle('same', log.lastElementChild?.dataset.author === `${id} ${name}`)
    item.dataset.author = `${id} ${name}`
    item.append(author, text)
  }
  item.append('\u00a0 ', timeOf(at))
  if (id === me && was === undefined) isAtEnd = true
  append(item)
}

export function showNotice(text) {
  const item = document.createElement('p')
  item.className = 'notice'
  item.textContent = text
  append(item)
}

function append(item) {
  log.append(item)
  if (log.childElementCount > MAX_LINES) log.firstElementChild.remove()
  newer.hidden = isAtEnd
  stayAtEnd()
}

function timeOf(at) {
  const time = document.createElement('time')
  const date = new Date(at)
  time.dir = 'auto'
  time.dateTime = date.toISOString()
  time.textContent = date.toLocaleTimeString([], { timeStyle: 'short' })
  time.title = date.toLocaleString()
  return time
}

/** Does not scroll after the user has scrolled up. */
function stayAtEnd() {
  if (isAtEnd) log.scrollTop = log.scrollHeight
}

newer.addEventListener('click', () => {
  isAtEnd = true
  newer.hidden = true
  stayAtEnd()
  document.querySelector('#line').focus()
})
log.addEventListener('scroll', () => {
  isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR
  if (isAtEnd) newer.hidden = true
})
// The keyboard of a phone covers half of the page.
new ResizeObserver(stayAtEnd).observe(log)
