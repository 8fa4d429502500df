/** Bytes of a block. */
const BLOCK = 64
const ROUNDS = 64
/** Bytes of the length at the end of the last block. */
const LENGTH = 8

/** A hash that is computed step by step, as in `node:crypto`. */
export interface Hash {
  update(bytes: Uint8Array): unknown
  /** Called once, after the last update. */
  digest(encoding: 'hex'): string
}

/** SHA-256 (FIPS 180-4). `crypto.subtle` needs all bytes at once, and a secure context. */
export function sha256(): Hash {
  const k = fractions(ROUNDS, 1 / 3)
  const state = fractions(8, 1 / 2)
  const words = new Int32Array(ROUNDS)
  const block = new Uint8Array(BLOCK)
  const view = new DataView(block.buffer)
  let size = 0

  function update(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length; ) {
      const filled = size % BLOCK
      const piece = bytes.subarray(start, start + BLOCK - filled)
      block.set(piece, filled)
      start += piece.length
      size += piece.length
      if (size % BLOCK === 0) addBlock()
    }
  }

  /** Adds the block to the state (section 6.2.2). */
  function addBlock(): void {
    let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number]
    for (let i = 0; i < ROUNDS; i++) {
      const [x, y] = [words[i - 15]!, words[i - 2]!]
      words[i] =
        i < BLOCK / 4
          ? view.getInt32(i * 4)
          : words[i - 16]! +
            words[i - 7]! +
            (rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3)) +
            (rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10))
      const t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + k[i]! + words[i]!
      const t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))
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

function rotate(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits))
}

/** The first 32 fractional bits of the roots of the first primes (sections 4.2.2 and 5.3.3). */
function fractions(count: number, root: number): Int32Array {
  const primes: number[] = []
  for (let n = 2; primes.length < count; n++) if (primes.every(prime => n % prime)) primes.push(n)
  return Int32Array.from(primes, prime => (prime ** root % 1) * 2 ** 32)
}
