import { bytes } from './bytes.js'

const MAX_ITEMS = 300

/** Shared items, the latest one at the end, without HTML. */
export class Feed {
  #list
  #hint
  #isAtEnd = true

  constructor(list, hint) {
    this.#list = list
    this.#hint = hint
    list.addEventListener('scroll', () => {
      this.#isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40
    })
    // The keyboard of a phone covers half of the page, and pictures have no size before they are loaded.
    new ResizeObserver(() => this.#stay()).observe(list)
    list.addEventListener('load', () => this.#stay(), true)
  }

  /** @param shared - has a `text`, a saved `file`, or a `picture` as a Blob. */
  add(shared, isMine) {
    const item = document.createElement('li')
    item.className = isMine ? 'item mine' : 'item'
    item.classList.toggle('same', this.#list.lastElementChild?.dataset.from === shared.from)
    item.dataset.from = shared.from
    const name = document.createElement('bdi')
    name.className = 'from'
    name.textContent = isMine ? 'you' : shared.from
    item.append(name, contentOf(shared))
    this.#list.append(item)
    if (this.#list.childElementCount > MAX_ITEMS) this.#list.firstElementChild.remove()
    this.#hint.hidden = true
    if (isMine) this.#isAtEnd = true
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
