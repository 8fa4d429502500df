/** Time constant of the movement to the reported position, in milliseconds. */
const EASE = 45
/** Points of the trail. */
const TRAIL = 90
/** Meters and radians that no car moves between two reports. */
const JUMP = 0.5
/** The drawn properties of a car. */
const DRAWN = ['x', 'y', 'heading', 'wheel']
/** Meters. */
const LENGTH = 0.38
const WIDTH = 0.2
/** Custom properties of the canvas. */
const COLORS = ['marking', 'car', 'idle-car', 'wheel', 'glass', 'lamp']

/**
 * Draws the car on its field, also between two reports; stops while the car stands.
 */
export function fieldOn(canvas) {
  const context = canvas.getContext('2d')
  let field = { width: 4, height: 2.5 }
  let colors = {}
  /** The reported and the drawn state. */
  let target
  let shown
  let isMine = false
  let trail = []
  let before = 0
  let isAsked = false

  function request() {
    if (!isAsked) requestAnimationFrame(draw)
    isAsked = true
  }

  function draw(now) {
    isAsked = false
    const near = 1 - Math.exp(-Math.min(now - before, 250) / EASE)
    before = now
    const { x, y } = shown
    let isDone = true
    for (const name of DRAWN) {
      const rest = target[name] - shown[name]
      if (Math.abs(rest) < 0.0005) shown[name] = target[name]
      else {
        shown[name] += rest * near
        isDone = false
      }
    }
    if (isDone) trail.shift()
    else if (x !== shown.x || y !== shown.y) trail.push({ x: shown.x, y: shown.y })
    if (trail.length > TRAIL) trail.shift()
    paint()
    if (!isDone || trail.length > 0) request()
  }

  function paint() {
    const scale = canvas.width / field.width
    context.setTransform(scale, 0, 0, scale, 0, 0)
    context.clearRect(0, 0, field.width, field.height)
    paintMarkings()
    paintTrail()
    paintCar(scale)
  }

  function paintMarkings() {
    context.fillStyle = colors.marking
    for (let x = 0.25; x < field.width; x += 0.25) for (let y = 0.25; y < field.height; y += 0.25) dot(x, y, 0.008)
    context.strokeStyle = colors.marking
    context.lineWidth = 0.025
    context.setLineDash([0.09, 0.09])
    context.beginPath()
    context.roundRect(0.5, 0.5, field.width - 1, field.height - 1, 0.7)
    context.stroke()
    context.setLineDash([])
  }

  /** One shape that gets narrower to its end: between translucent lines there would be seams. */
  function paintTrail() {
    const [left, right] = [[], []]
    for (let index = 1; index < trail.length; index++) {
      const [before, { x, y }] = [trail[index - 1], trail[index]]
      const [along, down] = [x - before.x, y - before.y]
      const half = ((WIDTH / 8) * (index / trail.length)) / Math.hypot(along, down)
      left.push([x + down * half, y - along * half])
      right.unshift([x - down * half, y + along * half])
    }
    context.fillStyle = carColor()
    context.globalAlpha = 0.3
    context.beginPath()
    for (const point of [...left, ...right]) context.lineTo(...point)
    context.fill()
    context.globalAlpha = 1
  }

  function paintCar(scale) {
    context.save()
    context.translate(shown.x, shown.y)
    context.rotate(shown.heading)
    context.fillStyle = colors.wheel
    for (const [x, y, angle] of [
      [0.115, -WIDTH / 2, shown.wheel],
      [0.115, WIDTH / 2, shown.wheel],
      [-0.115, -WIDTH / 2, 0],
      [-0.115, WIDTH / 2, 0],
    ]) {
      context.save()
      context.translate(x, y)
      context.rotate(angle)
      box(-0.045, -0.022, 0.09, 0.044, 0.015)
      context.restore()
    }
    // Shadows are not scaled by the transformation.
    context.shadowColor = 'rgb(0 0 0 / 0.25)'
    context.shadowBlur = 0.06 * scale
    context.shadowOffsetY = 0.015 * scale
    context.fillStyle = carColor()
    box(-LENGTH / 2, -WIDTH / 2 + 0.012, LENGTH, WIDTH - 0.024, 0.065)
    context.shadowColor = 'transparent'
    context.fillStyle = colors.glass
    box(0.015, -0.062, 0.06, 0.124, 0.025)
    context.globalAlpha = 0.55
    box(-0.12, -0.055, 0.035, 0.11, 0.016)
    context.globalAlpha = 1
    context.fillStyle = colors.lamp
    dot(LENGTH / 2 - 0.025, -0.055, 0.015)
    dot(LENGTH / 2 - 0.025, 0.055, 0.015)
    context.restore()
  }

  function carColor() {
    return isMine ? colors.car : colors['idle-car']
  }

  function dot(x, y, radius) {
    context.beginPath()
    context.arc(x, y, radius, 0, 2 * Math.PI)
    context.fill()
  }

  function box(x, y, width, height, radius) {
    context.beginPath()
    context.roundRect(x, y, width, height, radius)
    context.fill()
  }

  function readColors() {
    const style = getComputedStyle(canvas)
    colors = Object.fromEntries(COLORS.map(name => [name, style.getPropertyValue(`--${name}`)]))
  }

  function fit() {
    const sharp = devicePixelRatio
    canvas.width = Math.round(canvas.clientWidth * sharp)
    canvas.height = Math.round(canvas.clientHeight * sharp)
    readColors()
    if (shown !== undefined) paint()
  }

  new ResizeObserver(fit).observe(canvas)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', fit)
  fit()

  return {
    setSize(size) {
      field = size
    },
    /** Shows a car that was put elsewhere without a movement. */
    show(car, mine) {
      if (target === undefined || DRAWN.some(name => Math.abs(car[name] - target[name]) > JUMP)) {
        shown = { ...car }
        trail = []
      }
      target = car
      isMine = mine
      request()
    },
  }
}
