import { LIGHTS } from './palettes.ts'

/** Direction of the light: right, down and toward the viewer; unit length. */
const SUN = [-0.48, -0.6, 0.64] as const
/** Radius relative to half of the image's side. */
const FILL = 0.97

/** Constant values of each pixel of the sphere. */
export interface Disc {
  /** Index in the image. */
  readonly places: Uint32Array
  /** Three numbers for each pixel: right, down, toward the viewer. */
  readonly normals: Float32Array
  /** 0 to LIGHTS - 1. */
  readonly lights: Uint8Array
  /** Below 255 at the edge. */
  readonly alphas: Uint8Array
}

/** @param size - pixels at each side of the image. */
export function disc(size: number): Disc {
  const radius = (size / 2) * FILL
  const [places, normals, lights, alphas]: number[][] = [[], [], [], []]
  for (let place = 0; place < size * size; place++) {
    const x = ((place % size) + 0.5 - size / 2) / radius
    const y = (Math.floor(place / size) + 0.5 - size / 2) / radius
    const distance = Math.hypot(x, y)
    const alpha = Math.min(1, (1 - distance) * radius + 0.5)
    if (alpha <= 0) continue
    const z = Math.sqrt(Math.max(0, 1 - distance ** 2))
    places!.push(place)
    normals!.push(x, y, z)
    const light = (1 + x * SUN[0] + y * SUN[1] + z * SUN[2]) / 2
    lights!.push(Math.max(0, Math.min(1, light)) * (LIGHTS - 1))
    alphas!.push(alpha * 255)
  }
  return {
    places: Uint32Array.from(places!),
    normals: Float32Array.from(normals!),
    lights: Uint8Array.from(lights!),
    alphas: Uint8Array.from(alphas!),
  }
}
