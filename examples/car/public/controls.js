/** Maximum distance of the knob from the center, and the dead zone, in units of the drawing. */
const REACH = 58
const DEAD = 10
/** Direction nibbles clockwise from the top: forward, forward right, right, ... */
const AROUND = [1, 6, 4, 8, 2, 7, 3, 5]
/** Directions of keys and buttons, x to the right, y downward. */
const WAYS = { up: [0, -1], down: [0, 1], left: [-1, 0], right: [1, 0] }

/**
 * Combines stick, buttons and arrow keys: the last one counts.
 *
 * @param wish - called with the command, `undefined` after a release.
 * @param speed - returns the speed nibble for two keys together.
 */
export function controls(wish, speed) {
  const stick = document.querySelector('#stick')
  const knob = document.querySelector('#knob')
  const arm = document.querySelector('#arm')
  const keys = new Set()
  /** The pointer that holds the stick or a button. */
  let pointer
  let held

  function moveKnob(x, y) {
    knob.setAttribute('transform', `translate(${x} ${y})`)
    for (const [name, value] of Object.entries({ x2: x, y2: y })) arm.setAttribute(name, value)
  }

  function hold(element) {
    held?.classList.remove('held')
    held = element
    held?.classList.add('held')
  }

  function release() {
    pointer = undefined
    keys.clear()
    hold(undefined)
    moveKnob(0, 0)
    wish(undefined)
  }

  function drag({ clientX, clientY }) {
    const { left, top, width, height } = stick.getBoundingClientRect()
    const x = ((clientX - left) / width) * 200 - 100
    const y = ((clientY - top) / height) * 200 - 100
    const far = Math.hypot(x, y)
    const part = Math.min(far, REACH) / (far || 1)
    moveKnob(x * part, y * part)
    if (far < DEAD) return wish(undefined)
    const eighth = Math.round(Math.atan2(x, -y) / (Math.PI / 4))
    const fast = Math.max(1, Math.round((Math.min(far, REACH) / REACH) * 15))
    wish(raw(AROUND[(eighth + 8) % 8], fast))
  }

  function press(button) {
    keys.clear()
    hold(button)
    wish({ command: button.dataset.command })
  }

  function steerByKeys() {
    const sum = index => [...keys].reduce((total, key) => total + WAYS[key][index], 0)
    const [x, y] = [sum(0), sum(1)]
    const long = Math.hypot(x, y) || 1
    moveKnob((x / long) * REACH, (y / long) * REACH)
    if (x === 0 && y === 0) return wish(undefined)
    if (x === 0 || y === 0)
      return wish({ command: Object.keys(WAYS).find(key => String(WAYS[key]) === String([x, y])) })
    wish(raw(AROUND[(Math.round(Math.atan2(x, -y) / (Math.PI / 4)) + 8) % 8], speed()))
  }

  stick.addEventListener('pointerdown', event => {
    if (pointer !== undefined || event.button !== 0) return
    pointer = event.pointerId
    stick.setPointerCapture(pointer)
    hold(stick)
    drag(event)
  })
  stick.addEventListener('pointermove', event => {
    if (event.pointerId === pointer && held === stick) drag(event)
  })

  for (const button of document.querySelectorAll('[data-command]')) {
    button.addEventListener('pointerdown', event => {
      if (pointer !== undefined || event.button !== 0) return
      pointer = event.pointerId
      button.setPointerCapture(pointer)
      press(button)
    })
    button.addEventListener('keydown', event => {
      if (!isPress(event)) return
      event.preventDefault()
      if (!event.repeat) press(button)
    })
    button.addEventListener('keyup', event => {
      if (!isPress(event)) return
      event.preventDefault()
      release()
    })
    // The keyup event goes to another element.
    button.addEventListener('blur', () => {
      if (held === button && pointer === undefined) release()
    })
    // Screen readers and voice control click without holding.
    button.addEventListener('click', ({ detail }) => {
      if (detail > 0) return
      press(button)
      setTimeout(release, 1000)
    })
    button.addEventListener('contextmenu', event => event.preventDefault())
  }
  for (const type of ['pointerup', 'pointercancel', 'lostpointercapture'])
    addEventListener(type, event => {
      if (event.pointerId === pointer) release()
    })

  addEventListener('keydown', event => {
    const way = wayOf(event)
    if (way === undefined || event.ctrlKey || event.altKey || event.metaKey) return
    event.preventDefault()
    if (event.repeat) return
    keys.add(way)
    steerByKeys()
  })
  addEventListener('keyup', event => {
    if (keys.delete(wayOf(event))) steerByKeys()
  })
  // Without focus the page does not get the release of a key or pointer.
  addEventListener('blur', release)
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) release()
  })
  return { release }
}

function raw(direction, speed) {
  return { command: 'raw', data: (direction << 4) | speed }
}

function isPress({ key }) {
  return key === ' ' || key === 'Enter'
}

function wayOf({ key }) {
  const way = key.replace(/^Arrow/, '').toLowerCase()
  return key.startsWith('Arrow') && way in WAYS ? way : undefined
}
