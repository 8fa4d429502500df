import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { it } from 'node:test'
import { root } from './support/root.ts'

/** Rooms of src: each imports only from earlier rooms and itself. Rooms in one array do not import each other. */
const ROOMS = [
  ['contract'],
  ['kit'],
  ['config'],
  ['chain'],
  ['fanout'],
  ['streams'],
  ['peer'],
  ['cluster'],
  ['hub', 'websocket'],
  ['http', 'modules'],
  ['lifecycle'],
  ['offline'],
  ['testing'],
]

const roomOf = (file: string) => (file.includes('/') ? file.split('/')[0]! : file)
const rankOf = (room: string) => ROOMS.findIndex(rooms => rooms.includes(room))

/** Imports of all files below a folder, including types, as paths relative to it. */
function importsIn(folder: string): { file: string; imports: string }[] {
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter(file => file.endsWith('.ts'))
    .flatMap(file => {
      const text = readFileSync(join(folder, file), 'utf8')
      return Array.from(text.matchAll(/(?:from|import)\s*\(?'(\.[^']+)'/g), ([, path]) => ({
        file,
        imports: relative(folder, resolve(folder, dirname(file), path!)),
      }))
    })
}

it('imports between the rooms of src run one way', () => {
  const src = importsIn(join(root, 'src'))
  assert.ok(src.length > 300)
  const back = src.filter(({ file, imports }) => {
    const [from, to] = [roomOf(file), roomOf(imports)]
    // All rooms may import root.ts, which finds the package; index.ts and cli.ts may import all rooms.
    if (from === to || to === 'root.ts' || rankOf(from) === -1) return false
    return rankOf(to) === -1 || rankOf(to) >= rankOf(from)
  })
  assert.deepEqual(back, [])
})

it('the core imports no filter, storage or client, and they import no file of the core', () => {
  const outside = (folder: string, allowed: RegExp) =>
    importsIn(join(root, folder)).filter(({ imports }) => imports.startsWith('..') && !allowed.test(imports))
  assert.deepEqual(outside('src', /^\.\.\/protocols\//), [])
  assert.deepEqual(outside('filters', /^\.\.\/protocols\//), [])
  assert.deepEqual(outside('storage', /^$/), [])
  // Files of the kit that need no module of Node.
  assert.deepEqual(outside('protocols', /^\.\.\/src\/kit\/(?:hostname|json)\.ts$/), [])
  assert.deepEqual(outside('client', /^\.\.\/(?:protocols\/|src\/kit\/pending-calls\.ts$)/), [])
})

it('a filter imports only its own parts', () => {
  const foreign = importsIn(join(root, 'filters')).filter(({ file, imports }) => {
    const owner = roomOf(file).replace(/\.ts$/, '')
    return !imports.startsWith('..') && roomOf(imports).replace(/\.ts$/, '') !== owner
  })
  assert.deepEqual(foreign, [])
})
