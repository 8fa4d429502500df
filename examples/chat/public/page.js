import { connectTopics } from '/fws/client.js'
import { clearLog, showMessage, showNotice } from './log.js'
import { me, nameOf, rename, wantName, writePerson } from './people.js'

const ROOMS = ['lobby', 'garden', 'workshop']
const ROOM = /^[\p{L}\p{N}_-]{1,32}$/u
const NAME = /^[\p{L}\p{N}_-]{1,20}$/u
/** Milliseconds without a connection after which the page says so: a killed node is replaced by then. */
const OFFLINE = 3000

const element = id => document.querySelector(`#${id}`)
const [status, problem, line, nameInput] = ['status', 'problem', 'line', 'name'].map(element)
/** The other tabs of this browser. */
const tabs = new BroadcastChannel('chat')
let topics
let room
let subscription
let offlineTimer

/** Connects, also after a change of the name: the server reads it from a cookie. */
function connect() {
  const connection = connectTopics(location.origin, { firstDelay: 200, maxDelay: 5000 })
  connection.on('open', () => showStatus(true))
  connection.on('close', ({ retryIn }) => {
    if (connection !== topics) return
    if (retryIn === undefined) showStatus(false, 'closed, reload the page')
    else offlineTimer ??= setTimeout(showStatus, OFFLINE, false)
  })
  topics?.close()
  topics = connection
  subscribe(subscription?.position)
}

function subscribe(after) {
  const name = room
  const current = topics.subscribe(`chat/${name}`, {
    after,
    newest: 100,
    onMessage(message, { offset }) {
      rename(message.id, message.name)
      showMessage(message, `${current.position.epoch}-${offset}`)
      if (message.was !== undefined) showPeople(present)
    },
    onReset: () => showNotice('Messages may be missing here'),
    onPresence: showPeople,
    onEnd: ({ message }) => {
      problem.textContent = `${name}: ${message}`
    },
  })
  subscription = current
}

function enterRoom() {
  const wanted = decodeURIComponent(location.hash.slice(1)) || ROOMS[0]
  if (!ROOM.test(wanted)) return location.replace(`#${ROOMS[0]}`)
  room = wanted
  document.title = `${room} · Chat`
  problem.textContent = ''
  line.placeholder = `Message to ${room}`
  element('rooms').replaceChildren(...[...new Set([...ROOMS, room])].map(linkTo))
  subscription?.unsubscribe()
  clearLog()
  if (topics) subscribe()
}

function linkTo(name) {
  const link = document.createElement('a')
  link.href = `#${encodeURIComponent(name)}`
  link.textContent = name
  if (name === room) link.ariaCurrent = 'page'
  const item = document.createElement('li')
  item.append(link)
  return item
}

let present = []
function showPeople(users, number = users.length) {
  present = users
  for (const { user, info } of users) if (nameOf(user) === '') rename(user, info?.name ?? user)
  element('count').textContent = `${number} here`
  element('people').replaceChildren(
    ...users
      .map(({ user }) => {
        const item = document.createElement('li')
        writePerson(item, user, nameOf(user))
        item.classList.toggle('me', user === me)
        return item
      })
      .sort((one, other) => one.textContent.localeCompare(other.textContent)),
  )
  if (document.activeElement !== nameInput) nameInput.value = nameOf(me)
}

function showStatus(isOnline, words = isOnline ? 'online' : 'offline, trying again') {
  clearTimeout(offlineTimer)
  offlineTimer = undefined
  status.textContent = words
  document.body.classList.toggle('online', isOnline)
}

element('say').addEventListener('submit', async event => {
  event.preventDefault()
  line.focus()
  const text = line.value.trim()
  problem.textContent = ''
  if (text === '') return
  line.value = ''
  try {
    await topics.publish(`chat/${room}`, text)
  } catch ({ code, message }) {
    problem.textContent = `${code === 'lost' ? 'perhaps ' : ''}not sent: ${message}`
    line.value ||= text
  }
})

nameInput.addEventListener('change', async () => {
  const name = nameInput.value.trim()
  problem.textContent = NAME.test(name) ? '' : 'a name is 1 to 20 letters, digits, _ or -'
  if (!NAME.test(name) || name === nameOf(me)) return
  wantName(name)
  try {
    await topics.publish(`chat/${room}`, { name })
  } catch ({ message }) {
    problem.textContent = `others do not know your new name: ${message}`
  }
  tabs.postMessage('renamed')
  connect()
})

element('other').addEventListener('submit', event => {
  event.preventDefault()
  const name = element('room').value.trim()
  problem.textContent = ROOM.test(name) ? '' : 'a room is 1 to 32 letters, digits, _ or -'
  if (!ROOM.test(name)) return
  element('room').value = ''
  location.hash = encodeURIComponent(name)
  line.focus()
})

tabs.addEventListener('message', connect)
window.addEventListener('hashchange', enterRoom)
enterRoom()
connect()
if (matchMedia('(pointer: fine)').matches) line.focus()
