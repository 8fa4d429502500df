import { copterCount, write } from './words.js'

const COLLATOR = new Intl.Collator('en', { numeric: true })
const ICONS = {
  cut: 'M4 4l16 16M8.5 8.6A7 7 0 0 0 6 10m12.5.7a9 9 0 0 0-4-3M9 13.5a4.5 4.5 0 0 1 3-1.2M12 18h.01',
  kill: 'M12 4v8M7 7a7.5 7.5 0 1 0 10 0',
}
const SVG = 'http://www.w3.org/2000/svg'

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
      button('cut', `Cut the link of ${id} for 6 seconds`, () => cut(id)),
      button('kill', `Kill the process of ${id}`, () => kill(id)),
    )
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
    write(cells.link, link ? 'connected' : `away ${Math.max(Math.round(Date.now() / 1000 - since), 0)} s`)
    write(cells.clock, clock?.offset == null ? '–' : `${signed(clock.offset, 2)} ± ${clock.error.toFixed(2)}`)
    if (light) line.style.setProperty('--light', `rgb(${light.join(' ')})`)
  }

  setInterval(() => {
    for (const row of rows.values()) if (!row.copter.link) fill(row)
  }, 1000)

  return {
    get summary() {
      const here = [...rows.values()].filter(({ copter }) => copter.link).length
      return here === rows.size ? copterCount(rows.size) : `${here} of ${copterCount(rows.size)}`
    },
    show(copter) {
      const row = rowOf(copter.id)
      row.copter = copter
      fill(row)
    },
    /** @param late - milliseconds by copter. */
    started(late) {
      for (const [id, { cells }] of rows) write(cells.start, late[id] === undefined ? '–' : signed(late[id], 1))
    },
  }
}

function button(icon, label, act) {
  const made = document.createElement('button')
  made.type = 'button'
  made.title = label
  made.setAttribute('aria-label', label)
  made.addEventListener('click', act)
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('aria-hidden', 'true')
  const path = document.createElementNS(SVG, 'path')
  path.setAttribute('d', ICONS[icon])
  svg.append(path)
  made.append(svg)
  return made
}

function signed(value, digits) {
  const text = Math.abs(value).toFixed(digits)
  return `${value < 0 && Number(text) > 0 ? '−' : '+'}${text}`
}
