type Color = readonly [red: number, green: number, blue: number]

/** Colors from low to high. */
export const PALETTES: Readonly<Record<string, readonly Color[]>> = {
  ocean: [
    [8, 29, 66],
    [14, 77, 115],
    [22, 138, 148],
    [110, 197, 173],
    [236, 239, 196],
  ],
  ember: [
    [43, 10, 46],
    [118, 22, 78],
    [196, 56, 62],
    [240, 130, 60],
    [252, 222, 156],
  ],
  meadow: [
    [20, 42, 46],
    [24, 84, 72],
    [76, 138, 78],
    [172, 190, 98],
    [246, 236, 186],
  ],
}

/** Levels of a palette, up and down; and of light. */
export const LEVELS = 256
export const LIGHTS = 128

/** RGBA words without alpha: all levels in the darkest light, then in the next one. */
export function tintsOf(palette: readonly Color[]): Uint32Array {
  const tints = new Uint32Array(LIGHTS * LEVELS)
  for (let light = 0; light < LIGHTS; light++) {
    const lit = (2 * light) / (LIGHTS - 1) - 1
    const shade = 0.3 + 0.75 * Math.max(0, 0.25 + 0.75 * lit) ** 1.3
    const gloss = 26 * Math.max(0, lit) ** 8
    for (let level = 0; level < LEVELS; level++) {
      const height = 1 - Math.abs(1 - (2 * level) / LEVELS)
      const [red, green, blue] = colorAt(palette, height).map(part => Math.min(255, part * shade + gloss))
      tints[light * LEVELS + level] = (blue! << 16) | (green! << 8) | red!
    }
  }
  return tints
}

/** @param height - 0 to 1. */
function colorAt(palette: readonly Color[], height: number): readonly number[] {
  const position = height * (palette.length - 1)
  const low = Math.min(Math.floor(position), palette.length - 2)
  return palette[low]!.map((part, i) => part + (palette[low + 1]![i]! - part) * (position - low))
}
