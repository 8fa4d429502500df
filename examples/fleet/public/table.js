import { copterCount, write } from './words.js'

const COLLATOR = new Intl.Collator('en', { numeric: true })
/** States in which a copter can start on its path. */
const CAN_START = ['on the ground', 'hovering', 'paused']

/**
 * A row for each copter.
 *
 * @param cut - disconnects a copter for some seconds.
 * @param kill - kills the process of a copter.
 */
export function tableIn(body, { cut, kill }) {
  const rows = new Map()

  function rowOf(id) {
    const existing = rows.get(id)
    if (existing !== undefined) return existing
    const line = document.createElement('tr')
    const cells = {}
    for (const name of ['id', 'state', 'battery', 'link', 'clock', 'start', 'act']) {
      cells[name] = document.createElement(name === 'id' ? 'th' : 'td')
      cells[name].className = name
      line.append(cells[name])
    }
    cells.id.scope = 'row'
    cells.id.textContent = id
    const meter = document.createElement('meter')
    Object.assign(meter, { max: 100, low: 30, high: 50, optimum: 100 })
    meter.setAttribute('aria-label', `Battery of ${id}`)
    const level = document.createElement('span')
    level.className = 'level'
    cells.battery.append(meter, level)
    cells.act.append(
      button('Cut link', `Cut link of ${id} for 6 seconds`, () => cut(id)),
      button('Kill', `Kill process of ${id}`, () => kill(id)),
    )
    write(cells.start, '–')
    const row = { line, cells, meter, level, copter: { id } }
    rows.set(id, row)
    const after = [...rows.keys()].filter(other => COLLATOR.compare(other, id) > 0).sort(COLLATOR.compare)[0]
    body.insertBefore(line, rows.get(after)?.line ?? null)
    return row
  }

  function fill({ line, cells, meter, level, copter }) {
    const { link, since, mode, armed, battery, clock, light, process } = copter
    line.classList.toggle('away', !link)
    line.classList.toggle('armed', armed === true)
    cells.id.title = process == null ? '' : `process ${process}`
    write(cells.state, mode === 'on the ground' ? (armed ? 'armed' : 'on the ground') : (mode ?? '–'))
    write(level, battery == null ? '–' : `${Math.round(battery)} %`)
    meter.value = battery ?? 0
    const away = () => `away ${Math.max(Math.round(Date.now() / 1000 - since), 0)} s`
    write(cells.link, link === undefined ? 'unknown' : link ? 'connected' : away())
    write(cells.clock, clock?.offset == null || clock.error == null ? '–' : clockOf(clock))
    if (light) line.style.setProperty('--light', `rgb(${light.join(' ')})`)
  }

  setInterval(() => {
    for (const row of rows.values()) if (row.copter.link === false) fill(row)
  }, 1000)

  return {
    get copters() {
      return [...rows.values()].map(({ copter }) => copter)
    },
    get summary() {
      const here = this.copters.filter(({ link }) => link).length
      return here === rows.size ? copterCount(rows.size) : `${here} of ${copterCount(rows.size)}`
    },
    /** The command that makes sense now, if there is one, and words for it. */
    get next() {
      const here = this.copters.filter(({ link }) => link)
      if (here.length === 0) return [undefined, 'No copter is connected']
      const armed = here.filter(copter => copter.armed)
      if (armed.length === 0) return ['arm', 'Next: arm the copters']
      const withPath = armed.filter(({ path }) => path != null)
      if (withPath.length === 0) return ['path', 'Next: send a path']
      if (withPath.some(({ mode }) => CAN_START.includes(mode))) return ['start', 'Next: start the copters']
      return [undefined, 'In flight: pause or land at any time']
    },
    show(copter) {
      const row = rowOf(copter.id)
      row.copter = copter
      fill(row)
    },
    /** @param late - milliseconds by copter. */
    started(late) {
      for (const [id, { cells }] of rows) write(cells.start, late[id] === undefined ? '–' : `${signed(late[id], 1)} ms`)
    },
  }
}

function button(words, label, act) {
  const made = document.createElement('button')
  Object.assign(made, { type: 'button', textContent: words, ariaLabel: label, title: label })
  made.addEventListener('click', act)
  return made
}

function clockOf({ offset, error }) {
  const digits = Math.max(Math.abs(offset), error) < 10 ? 2 : 1
  return `${signed(offset, digits)} ± ${error.toFixed(digits)} ms`
}

function signed(value, digits) {
  const text = Math.abs(value).toFixed(digits)
  return `${value < 0 && Number(text) > 0 ? '−' : '+'}${text}`
}
