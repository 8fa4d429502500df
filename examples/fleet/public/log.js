import { copterCount, timeOf } from './words.js'

const MAX_ITEMS = 60
/** Seconds in which equal events are merged into one line. */
const MERGE = 2
/** Seconds of delay from which on the delay is shown. */
const LATE = 1

/** A list of events, the latest one first. */
export function log(list) {
  let latest

  function add(who, text, { isTrouble = false, at = Date.now() / 1000, reported = at } = {}) {
    const seconds = reported - at
    const words = seconds > LATE ? `${text} (reported ${seconds.toFixed(1)} s later)` : text
    if (latest !== undefined && latest.words === words && reported - latest.reported < MERGE) {
      latest.names.add(who)
      latest.name.textContent = several([...latest.names])
      return
    }
    const item = document.createElement('li')
    const [time, label, name] = ['time', 'span', 'b'].map(tag => document.createElement(tag))
    time.textContent = timeOf(reported)
    name.textContent = who
    label.append(name, `: ${words}`)
    item.classList.toggle('trouble', isTrouble)
    item.append(time, label)
    list.prepend(item)
    if (list.childElementCount > MAX_ITEMS) list.lastElementChild.remove()
    latest = { words, reported, name, names: new Set([who]) }
  }

  return {
    add,
    /** Shows the result of a command: words for copters that accept it, and for those that refuse it. */
    addResult({ done, refused }, accepted, failed) {
      const reasons = Map.groupBy(Object.entries(refused), ([, reason]) => reason)
      for (const [reason, entries] of reasons)
        add(several(entries.map(([id]) => id)), `${failed} (${reason})`, { isTrouble: true })
      if (done > 0) add(copterCount(done), accepted)
      else if (reasons.size === 0) add('server', 'no copter has connected', { isTrouble: true })
    },
  }
}

function several(names) {
  return names.length > 2 ? copterCount(names.length) : names.sort().join(', ')
}
