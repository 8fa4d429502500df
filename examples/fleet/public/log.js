const MOST = 60
/** Seconds in which several that say the same are one line. */
const TOGETHER = 2
/** Seconds on its way from which on it is worth a word. */
const LATE = 1

/** A list of what was said, the newest first. */
export function log(list) {
  let latest

  function say(who, text, { isTrouble = false, at = Date.now() / 1000, told = at } = {}) {
    const seconds = told - at
    const words = seconds > LATE ? `${text} (told ${seconds.toFixed(1)} s later)` : text
    if (latest !== undefined && latest.words === words && told - latest.told < TOGETHER) {
      latest.whose.add(who)
      latest.name.textContent = several([...latest.whose])
      return
    }
    const item = document.createElement('li')
    const [time, name, said] = ['time', 'b', 'span'].map(tag => document.createElement(tag))
    time.textContent = new Date(told * 1000).toLocaleTimeString([], { hour12: false })
    name.textContent = who
    said.textContent = words
    item.classList.toggle('trouble', isTrouble)
    item.append(time, name, said)
    list.prepend(item)
    if (list.childElementCount > MOST) list.lastElementChild.remove()
    latest = { words, told, name, whose: new Set([who]) }
  }

  return {
    say,
    /** What a command came to: who refused it, and why. */
    sayAll(text, { done, refused }) {
      const reasons = Map.groupBy(Object.entries(refused), ([, reason]) => reason)
      for (const [reason, whose] of reasons) say(several(whose.map(([id]) => id)), reason, { isTrouble: true })
      if (done > 0) say(done === 1 ? '1 copter' : `${done} copters`, text)
    },
  }
}

function several(whose) {
  return whose.length > 2 ? `${whose.length} copters` : whose.sort().join(', ')
}
