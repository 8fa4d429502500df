/** Texels at each side. */
const SIZE = 512
/** Waves through the space around the sphere: direction times frequency, phase, height. */
const WAVES = [
  [2.3, 3.1, -1.4, 0.3, 1],
  [-3.2, 2.9, 2.1, 1.7, 0.75],
  [1.8, -3.6, 4.1, 4.1, 0.6],
  [5.3, 3.2, 2.5, 2.6, 0.34],
  [-3.7, 5.9, -4.4, 5.2, 0.28],
  [6.8, -5.6, 4.3, 0.9, 0.16],
  [-7.4, -6.1, 7.2, 3.5, 0.1],
] as const

/** Color levels from the lowest to the highest point, modulo 256. */
const STEEP = 400

/** Levels on a sphere, 0 to 255, in an octahedral mapping, which has no seam and needs no trigonometry. */
export function surface(): Uint8Array {
  const heights = new Float32Array(SIZE * SIZE)
  for (let row = 0; row < SIZE; row++)
    for (let column = 0; column < SIZE; column++) heights[row * SIZE + column] = heightAt(column, row)
  const low = heights.reduce((a, b) => Math.min(a, b))
  const high = heights.reduce((a, b) => Math.max(a, b))
  return Uint8Array.from(heights, height => (STEEP * (height - low)) / (high - low))
}

/** Index of the surface in a direction of any length. */
export function texel(x: number, y: number, z: number): number {
  const scale = 1 / (Math.abs(x) + Math.abs(y) + Math.abs(z))
  let u = x * scale
  let v = y * scale
  if (z < 0) {
    const folded = (1 - Math.abs(v)) * Math.sign(u)
    v = (1 - Math.abs(u)) * Math.sign(v)
    u = folded
  }
  const half = (SIZE - 1) / 2
  return (((v + 1) * half + 0.5) | 0) * SIZE + (((u + 1) * half + 0.5) | 0)
}

function heightAt(column: number, row: number): number {
  let x = (2 * column) / (SIZE - 1) - 1
  let y = (2 * row) / (SIZE - 1) - 1
  const z = 1 - Math.abs(x) - Math.abs(y)
  if (z < 0) {
    const folded = (1 - Math.abs(y)) * Math.sign(x)
    y = (1 - Math.abs(x)) * Math.sign(y)
    x = folded
  }
  const length = Math.hypot(x, y, z)
  let height = 0
  for (const [a, b, c, phase, weight] of WAVES) height += weight * Math.sin((a * x + b * y + c * z) / length + phase)
  return height
}
