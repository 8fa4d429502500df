import { bytes } from './bytes.js'

const MAX_ITEMS = 300

/** Shared items, the latest one at the end, without HTML. */
export class Feed {
  #list
  #hint
  #latest
  #isAtEnd = true
  #top = 0

  /** @param latest - the button that is shown when items arrive below the visible ones. */
  constructor(list, hint, latest) {
    this.#list = list
    this.#hint = hint
    this.#latest = latest
    list.addEventListener('scroll', () => {
      // After a scroll to the end, the next item may be there before the event.
      if (list.scrollHeight - list.scrollTop - list.clientHeight < 40) this.#toEnd()
      else if (list.scrollTop < this.#top) this.#isAtEnd = false
      this.#top = list.scrollTop
    })
    latest.addEventListener('click', () => this.#toEnd())
    // The keyboard of a phone covers half of the page, and pictures have no size before they are loaded.
    new ResizeObserver(() => this.#stay()).observe(list)
    list.addEventListener('load', () => this.#stay(), true)
  }

  /** @param shared - has a `text`, a saved `file`, or a `picture` as a Blob. */
  add(shared, isMine) {
    const item = document.createElement('div')
    item.className = isMine ? 'item mine' : 'item'
    item.classList.toggle('same', this.#list.lastElementChild?.dataset.from === shared.from)
    item.dataset.from = shared.from
    const name = document.createElement('bdi')
    name.className = 'from'
    name.textContent = isMine ? 'you' : shared.from
    item.append(name, contentOf(shared))
    if (isMine) this.#isAtEnd = true
    this.#append(item)
  }

  /** Adds words of the room itself. */
  note(words) {
    const item = document.createElement('p')
    item.className = 'note'
    item.textContent = words
    this.#append(item)
  }

  #append(item) {
    this.#list.append(item)
    if (this.#list.childElementCount > MAX_ITEMS) this.#list.firstElementChild.remove()
    this.#hint.hidden = true
    this.#latest.hidden = this.#isAtEnd
    this.#stay()
  }

  #toEnd() {
    this.#isAtEnd = true
    this.#latest.hidden = true
    this.#stay()
  }

  /** Does not scroll after the user has scrolled up. */
  #stay() {
    if (this.#isAtEnd) this.#list.scrollTop = this.#list.scrollHeight
  }
}

function contentOf({ text, file, picture }) {
  if (picture !== undefined) return pictureOf(picture)
  if (file !== undefined) return fileOf(file)
  const words = document.createElement('p')
  words.className = 'shared'
  words.dir = 'auto'
  words.textContent = text
  return words
}

/** An image opens in a new page; other files are saved under their original names. */
function fileOf({ kind, url, size, name, original = name }) {
  const link = document.createElement('a')
  link.className = 'shared'
  link.href = url
  if (kind === 'image') link.target = '_blank'
  else link.download = original
  link.append(kind === 'image' ? imageOf(url, original) : labelOf(original, size))
  return link
}

function imageOf(url, name) {
  const image = document.createElement('img')
  image.alt = name
  image.src = url
  return image
}

function pictureOf(blob) {
  const [frame, url] = [document.createElement('div'), URL.createObjectURL(blob)]
  const image = imageOf(url, 'a picture')
  image.addEventListener('load', () => URL.revokeObjectURL(url))
  frame.className = 'shared'
  frame.append(image)
  return frame
}

function labelOf(name, size) {
  const words = document.createElement('span')
  const [title, about] = [document.createElement('bdi'), document.createElement('small')]
  words.className = 'file'
  title.textContent = name
  about.textContent = bytes(size)
  words.append(title, about)
  return words
}
