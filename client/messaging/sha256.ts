/** Bytes that are mixed in at a time. */
const BLOCK = 64
const ROUNDS = 64
/** Bytes of the length, at the end of the last block. */
const LENGTH = 8

/** Tells whether a file is the one that was sent. */
export interface Hash {
  update(bytes: Uint8Array): unknown
  /** Once, at the end. */
  digest(encoding: 'hex'): string
}

/** SHA-256 (FIPS 180-4) of bytes as they come: what browsers bring along wants all of them at once, and a secure context. */
export function sha256(): Hash {
  const k = fractions(ROUNDS, 1 / 3)
  const state = fractions(8, 1 / 2)
  const words = new Int32Array(ROUNDS)
  const block = new Uint8Array(BLOCK)
  const view = new DataView(block.buffer)
  let size = 0

  function update(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const begun = size % BLOCK
      const piece = bytes.subarray(at, at + BLOCK - begun)
      block.set(piece, begun)
      at += piece.length
      size += piece.length
      if (size % BLOCK === 0) mix()
    }
  }

  /** One block into the state (section 6.2.2). */
  function mix(): void {
    let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number]
    for (let i = 0; i < ROUNDS; i++) {
      const [x, y] = [words[i - 15]!, words[i - 2]!]
      words[i] =
        i < BLOCK / 4
          ? view.getInt32(i * 4)
          : words[i - 16]! +
            words[i - 7]! +
            (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) +
            (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10))
      const t1 = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + k[i]! + words[i]!
      const t2 = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))
      ;[h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0]
    }
    for (const [i, word] of [a, b, c, d, e, f, g, h].entries()) state[i]! += word
  }

  function digest(): string {
    const end = new Uint8Array(BLOCK + LENGTH - ((size + LENGTH) % BLOCK))
    end[0] = 0x80
    new DataView(end.buffer).setBigUint64(end.length - LENGTH, BigInt(size) * 8n)
    update(end)
    return Array.from(state, word => (word >>> 0).toString(16).padStart(8, '0')).join('')
  }

  return { update, digest }
}

function turn(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits))
}

/** The first 32 bits behind the point of a root of the first prime numbers (sections 4.2.2 and 5.3.3). */
function fractions(count: number, root: number): Int32Array {
  const primes: number[] = []
  for (let n = 2; primes.length < count; n++) if (primes.every(prime => n % prime)) primes.push(n)
  return Int32Array.from(primes, prime => (prime ** root % 1) * 2 ** 32)
}
