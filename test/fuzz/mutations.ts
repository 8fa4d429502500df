import fc from 'fast-check'

/** A change of some bytes, at a position given as a share of the length. */
interface Mutation {
  readonly at: number
  readonly how: 'flip' | 'set' | 'insert' | 'remove' | 'double' | 'cut'
  readonly byte: number
  readonly length: number
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  how: fc.constantFrom('flip', 'set', 'insert', 'remove', 'double', 'cut'),
  byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 9, 10, 13, 32, 58, 127, 128, 255)),
  length: fc.nat(20),
})

/** The bytes with a few changes, or, equally often, none. */
export function mutated(bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  const changes = fc.oneof(fc.constant([]), fc.array(mutation, { minLength: 1, maxLength: 4 }))
  return fc.tuple(bytes, changes).map(([original, list]) => list.reduce(change, original))
}

function change(bytes: Buffer, { at, how, byte, length }: Mutation): Buffer {
  const i = Math.floor(at * bytes.length)
  const [before, after] = [bytes.subarray(0, i), bytes.subarray(i)]
  switch (how) {
    case 'flip':
      return Buffer.concat([before, Buffer.from([(after[0] ?? 0) ^ (1 << (byte & 7))]), after.subarray(1)])
    case 'set':
      return Buffer.concat([before, Buffer.from([byte]), after.subarray(1)])
    case 'insert':
      return Buffer.concat([before, Buffer.alloc(length, byte), after])
    case 'remove':
      return Buffer.concat([before, after.subarray(length)])
    case 'double':
      return Buffer.concat([before, after.subarray(0, length), after])
    case 'cut':
      return before
  }
}
