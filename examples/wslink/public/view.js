/** Milliseconds over which images are counted. */
const PERIOD = 1000

/** Draws images as they arrive, and shows their rate. */
export class View {
  #context
  #rate
  #latest
  #images = 0
  #bytes = 0
  #isOn = true
  #since = performance.now()

  constructor(canvas, rate) {
    this.#context = canvas.getContext('2d')
    this.#rate = rate
    setInterval(() => this.#count(), PERIOD)
  }

  /** @param image - `pixels` are RGBA. */
  show(image) {
    this.#images++
    this.#bytes += image.pixels.byteLength
    if (this.#latest === undefined) requestAnimationFrame(() => this.#draw())
    this.#latest = image
  }

  /** @param isOn - whether images are expected. */
  turn(isOn) {
    this.#isOn = isOn
    this.#count()
  }

  #draw() {
    const { width, height, pixels } = this.#latest
    this.#latest = undefined
    // A view of the message, without a copy.
    const view = new Uint8ClampedArray(pixels.buffer, pixels.byteOffset, pixels.byteLength)
    this.#context.putImageData(new ImageData(view, width, height), 0, 0)
  }

  #count() {
    const now = performance.now()
    const seconds = (now - this.#since) / 1000
    const [images, megabytes] = [this.#images / seconds, this.#bytes / seconds / 1e6]
    const words =
      this.#images === 0
        ? 'no images in the last second'
        : `${images.toFixed(0)} images/s, ${megabytes.toFixed(0)} MB/s`
    this.#rate.textContent = this.#isOn ? words : 'images are off'
    this.#images = 0
    this.#bytes = 0
    this.#since = now
  }
}
