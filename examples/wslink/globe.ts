import { disc } from './globe/disc.ts'
import { LEVELS, PALETTES, tintsOf } from './globe/palettes.ts'
import { surface, texel } from './globe/surface.ts'

/** Color levels from one image to the next. */
const DRIFT = 0.4

type Matrix = readonly [number, number, number, number, number, number, number, number, number]

/** A sphere with waves, drawn from tables in some milliseconds. */
export class Globe {
  /** RGBA by rows; `draw` overwrites it. */
  readonly pixels: Uint8Array
  readonly #words: Uint32Array
  readonly #disc: ReturnType<typeof disc>
  readonly #surface = surface()
  readonly #tints = new Map<string, Uint32Array>()
  /** From view to surface coordinates. */
  #rotation: Matrix = [1, 0, 0, 0, 1, 0, 0, 0, 1]
  #drift = 0

  /** @param size - pixels at each side. */
  constructor(size: number) {
    this.#words = new Uint32Array(size * size)
    this.pixels = new Uint8Array(this.#words.buffer)
    this.#disc = disc(size)
    for (const [name, palette] of Object.entries(PALETTES)) this.#tints.set(name, tintsOf(palette))
  }

  /**
   * Rotates the sphere around the axes of the view.
   *
   * @param right - radians.
   * @param down - radians.
   */
  turn(right: number, down: number): void {
    const [c, s, d, e] = [Math.cos(right), Math.sin(right), Math.cos(down), Math.sin(down)]
    this.#rotation = product(this.#rotation, [c, -s * e, -s * d, 0, d, -e, s, c * e, c * d])
  }

  /** @param palette - a name of PALETTES. */
  draw(palette: string): void {
    this.#drift = (this.#drift + DRIFT) % LEVELS
    const drift = Math.floor(this.#drift)
    const [words, levels, tints] = [this.#words, this.#surface, this.#tints.get(palette)!]
    const { places, normals, lights, alphas } = this.#disc
    const [a, b, c, d, e, f, g, h, i] = this.#rotation
    for (let n = 0; n < places.length; n++) {
      const x = normals[3 * n]!
      const y = normals[3 * n + 1]!
      const z = normals[3 * n + 2]!
      const level = levels[texel(a * x + b * y + c * z, d * x + e * y + f * z, g * x + h * y + i * z)]!
      const tint = tints[lights[n]! * LEVELS + ((level + drift) % LEVELS)]!
      words[places[n]!] = (alphas[n]! << 24) | tint
    }
  }
}

function product(a: Matrix, b: Matrix): Matrix {
  const cell = (row: number, column: number) =>
    a[3 * row]! * b[column]! + a[3 * row + 1]! * b[3 + column]! + a[3 * row + 2]! * b[6 + column]!
  const [x, y, z] = [0, 1, 2].map(row => [cell(row, 0), cell(row, 1), cell(row, 2)] as const)
  return [...x!, ...y!, ...z!]
}
