import { bytes } from './bytes.js'

const MAX_ITEMS = 300

/** What has been shared, the newest at the end. Everything is written as text: nothing of it is read as HTML. */
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
    // A phone's keyboard takes half of the page, and pictures have no size until they are there.
    new ResizeObserver(() => this.#stay()).observe(list)
    list.addEventListener('load', () => this.#stay(), true)
  }

  /** `what` has a `text`, a `file` that was saved, or a `picture` that is a Blob. */
  add(what, isMine) {
    const item = document.createElement('li')
    item.className = isMine ? 'item mine' : 'item'
    item.classList.toggle('same', this.#list.lastElementChild?.dataset.from === what.from)
    item.dataset.from = what.from
    const name = document.createElement('bdi')
    name.className = 'from'
    name.textContent = isMine ? 'you' : what.from
    item.append(name, contentOf(what))
    this.#list.append(item)
    if (this.#list.childElementCount > MAX_ITEMS) this.#list.firstElementChild.remove()
    this.#hint.hidden = true
    if (isMine) this.#isAtEnd = true
    this.#stay()
  }

  /** Who has scrolled up to read is left there. */
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

/** An image is shown and opens in a page of its own; any other file is saved under the name that it had. */
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
