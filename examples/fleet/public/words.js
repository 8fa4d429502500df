/** @returns the number with its noun. */
export function copterCount(count) {
  return count === 1 ? '1 copter' : `${count} copters`
}

/** @returns the local time of day; `seconds` since 1970. */
export function timeOf(seconds, fractionalSecondDigits) {
  const digits = { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits }
  return new Date(seconds * 1000).toLocaleTimeString('en-GB', digits)
}

/** Writes only changes, as screen readers announce each write. */
export function write(element, words) {
  if (element.textContent !== words) element.textContent = words
}
