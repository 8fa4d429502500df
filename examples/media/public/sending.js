import { bytes } from './bytes.js'

/** Uploads a file, with a row for progress and cancel, which stays after an error. */
export async function send(media, file) {
  const stop = new AbortController()
  const row = rowOf(file, () => stop.abort())
  document.getElementById('uploads').append(row.item)
  try {
    await media.upload(file, { signal: stop.signal, onProgress: row.progress })
    row.item.remove()
  } catch (error) {
    if (stop.signal.aborted) row.item.remove()
    else row.fail(error.message)
  }
}

function rowOf({ name, size }, cancel) {
  const item = document.createElement('li')
  const [title, about] = [document.createElement('bdi'), document.createElement('small')]
  const bar = document.createElement('progress')
  const button = document.createElement('button')
  item.className = 'row'
  title.className = 'title'
  title.textContent = name
  about.textContent = `0 of ${bytes(size)}`
  bar.max = size
  bar.value = 0
  bar.ariaLabel = `Upload of ${name}`
  button.type = 'button'
  button.textContent = 'Cancel'
  button.ariaLabel = `Cancel ${name}`
  button.addEventListener('click', cancel)
  item.append(title, about, bar, button)
  return {
    item,
    progress({ received }) {
      bar.value = received
      about.textContent = `${bytes(received)} of ${bytes(size)}`
    },
    fail(reason) {
      item.className = 'row refused'
      item.role = 'alert'
      about.textContent = reason
      bar.remove()
      button.textContent = 'Dismiss'
      button.ariaLabel = `Dismiss ${name}`
      button.addEventListener('click', () => item.remove())
    },
  }
}
