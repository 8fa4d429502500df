const SVG = 'http://www.w3.org/2000/svg'
/** Depth of the field in meters. */
const DEPTH = 8
/** Milliseconds between two reports of a copter, and of the movement to a new position. */
const INTERVAL = 250
/** Milliseconds without a report after which a copter jumps to its new position. */
const LOST = 1500
/** Points of a trail. */
const TRAIL = 14

/** Draws the copters, also between two reports; stops while all stand. */
export function skyOn(svg) {
  const copters = new Map()
  let isAsked = false

  function copterOf(id) {
    const existing = copters.get(id)
    if (existing !== undefined) return existing
    const body = make('g', svg.querySelector('#copters'), { class: 'copter' })
    for (const [x, y] of [
      [-1, -1],
      [1, -1],
      [-1, 1],
      [1, 1],
    ])
      make('circle', body, { class: 'rotor', cx: x * 0.19, cy: y * 0.19, r: 0.13 })
    make('circle', body, { class: 'body', r: 0.22 })
    make('text', body, { y: 0.085 }).textContent = /\d{1,3}$/.exec(id)?.[0] ?? id.slice(0, 2)
    const shadow = make('circle', svg.querySelector('#shadows'), { class: 'shadow', r: 0.25 })
    const trail = make('polyline', svg.querySelector('#trails'), { class: 'trail' })
    const copter = {
      body,
      shadow,
      trail,
      now: undefined,
      from: undefined,
      to: undefined,
      at: Number.NEGATIVE_INFINITY,
      places: [],
    }
    copters.set(id, copter)
    return copter
  }

  function draw(now) {
    isAsked = false
    let isDone = true
    for (const copter of copters.values()) {
      if (copter.to === undefined) continue
      const part = Math.min((now - copter.at) / INTERVAL, 1)
      if (part < 1) isDone = false
      place(copter, between(copter.from, copter.to, part))
    }
    if (!isDone) request()
  }

  function request() {
    if (!isAsked) requestAnimationFrame(draw)
    isAsked = true
  }

  function place(copter, { x, y, z }) {
    copter.now = { x, y, z }
    const screenY = DEPTH - y
    copter.body.setAttribute('transform', `translate(${x} ${screenY}) scale(${1 + z * 0.08})`)
    copter.shadow.setAttribute('transform', `translate(${x + z * 0.07} ${screenY + z * 0.14})`)
    const line = [...copter.places, copter.now].map(spot => `${spot.x.toFixed(2)},${(DEPTH - spot.y).toFixed(2)}`)
    copter.trail.setAttribute('points', line.join(' '))
  }

  return {
    show({ id, link, position, light }) {
      const copter = copterOf(id)
      for (const part of [copter.body, copter.trail]) {
        part.classList.toggle('away', !link)
        if (light) part.style.setProperty('--light', `rgb(${light.join(' ')})`)
      }
      if (position == null || position.x === null) return
      const { to } = copter
      if (to !== undefined && to.x === position.x && to.y === position.y && to.z === position.z) {
        // The trail of a standing copter becomes shorter.
        if (copter.places.shift() !== undefined) request()
        return
      }
      const at = performance.now()
      // The positions between the reports are missing.
      if (at - copter.at > LOST) {
        copter.now = position
        copter.places.length = 0
      }
      copter.from = copter.now
      copter.to = position
      copter.at = at
      copter.places.push(copter.from)
      if (copter.places.length > TRAIL) copter.places.shift()
      request()
    },
    /** @param points - of the common path. */
    path(points) {
      svg.querySelector('#path').setAttribute('points', points.map(({ x, y }) => `${x},${DEPTH - y}`).join(' '))
    },
  }
}

function between(from, to, part) {
  const along = axis => from[axis] + (to[axis] - from[axis]) * part
  return { x: along('x'), y: along('y'), z: along('z') }
}

function make(tag, parent, attributes) {
  const made = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  parent.append(made)
  return made
}
