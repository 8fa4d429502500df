/** CSS pixels from one bar to the next, and of a bar. */
const [STEP, WIDTH] = [5, 3]

/** Levels of sound as bars, the latest one at the right. */
export class Wave {
  #canvas
  #levels = []
  #isDrawing = false

  constructor(canvas) {
    this.#canvas = canvas
    new ResizeObserver(() => this.#draw()).observe(canvas)
  }

  /** @param level - 0 to 1. */
  add(level) {
    this.#levels.push(level)
    if (this.#isDrawing) return
    this.#isDrawing = true
    requestAnimationFrame(() => this.#draw())
  }

  clear() {
    this.#levels = []
  }

  #draw() {
    this.#isDrawing = false
    const { clientWidth: width, clientHeight: height } = this.#canvas
    const [scale, context] = [devicePixelRatio, this.#canvas.getContext('2d')]
    this.#canvas.width = width * scale
    this.#canvas.height = height * scale
    context.scale(scale, scale)
    context.fillStyle = getComputedStyle(this.#canvas).color
    this.#levels = this.#levels.slice(-Math.ceil(width / STEP))
    for (const [index, level] of this.#levels.toReversed().entries()) {
      // Closer to the perceived loudness than a linear scale.
      const size = Math.max(WIDTH, height * Math.sqrt(level))
      context.beginPath()
      context.roundRect(width - (index + 1) * STEP, (height - size) / 2, WIDTH, size, WIDTH / 2)
      context.fill()
    }
  }
}
