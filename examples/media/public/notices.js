const MAX_NOTICES = 3

/** Shows a message for some milliseconds. @param level - warning, error, success or info. */
export function showAlert(message, level = 'warning', timeout = 5000) {
  const list = document.getElementById('alerts')
  const notice = document.createElement('p')
  notice.className = `notice ${level}`
  notice.textContent = message
  list.append(notice)
  while (list.childElementCount > MAX_NOTICES) list.firstElementChild.remove()
  setTimeout(() => notice.remove(), timeout)
}
