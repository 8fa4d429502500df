/** The id of this browser: a hash of a cookie that scripts cannot read. */
export const me = cookie('chat_id')

/** Names by id, the last known. */
const names = new Map()

/** Stores the name of this browser for its next connections. */
export function wantName(name) {
  // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API needs HTTPS
  document.cookie = `chat_name=${encodeURIComponent(name)}; path=/; max-age=31536000; samesite=lax`
}

export function rename(id, name) {
  names.set(id, name)
}

export const nameOf = id => names.get(id) ?? ''

/** Writes a name with the color of its id; with a part of the id if others have the same name. */
export function writePerson(element, id, name) {
  element.style.setProperty('--hue', hueOf(id))
  const isShared = [...names].some(([other, taken]) => other !== id && taken === name)
  element.textContent = isShared ? `${name} ${id.slice(0, 4)}` : name
}

function hueOf(id = '') {
  return (Number.parseInt(id.slice(0, 6), 16) * 137) % 360 || 0
}

function cookie(name) {
  const found = document.cookie.split('; ').find(pair => pair.startsWith(`${name}=`))
  return decodeURIComponent(found?.slice(name.length + 1) ?? '')
}
