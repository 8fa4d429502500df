/** Radians of one press of an arrow key. */
const STEP = 0.15
const KEYS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }

/** Turns the globe by dragging and by keys, with one call at a time for all movements until then. */
export function turning(canvas, link) {
  let [right, down] = [0, 0]
  let isCalling = false

  async function turn(byRight, byDown) {
    right += byRight
    down += byDown
    if (isCalling) return
    isCalling = true
    while (right !== 0 || down !== 0) {
      const angles = [right, down]
      right = down = 0
      await link.call('view.turn', angles).catch(() => {})
    }
    isCalling = false
  }

  canvas.addEventListener('pointerdown', event => canvas.setPointerCapture(event.pointerId))
  canvas.addEventListener('pointermove', event => {
    if (!canvas.hasPointerCapture(event.pointerId)) return
    const radius = canvas.clientWidth / 2
    turn(event.movementX / radius, event.movementY / radius)
  })
  canvas.addEventListener('keydown', event => {
    if (!Object.hasOwn(KEYS, event.key)) return
    event.preventDefault()
    turn(...KEYS[event.key])
  })
}
