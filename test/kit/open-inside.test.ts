import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { constants, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type OpenInsideOptions, openInside, samePath } from '../../src/kit/open-inside.ts'
import { folder } from '../support/cli.ts'
import { whileSwapping } from '../support/swap.ts'

type Test = Parameters<typeof folder>[0]

function tree(t: Test): string {
  const base = folder(t, {
    'secret/a': 'secret',
    'root-2/a': 'secret',
    'root/a': 'open',
    'root/in/a': 'open',
    'root/.git/config': 'hidden',
    'root/.well-known/a': 'open',
    'root/x (deleted)': 'open',
  })
  const root = join(base, 'root')
  symlinkSync('in', join(root, 'again'))
  symlinkSync('a', join(root, 'alias'))
  symlinkSync('../secret', join(root, 'out'))
  symlinkSync('../secret/a', join(root, 'leak'))
  symlinkSync('../root-2', join(root, 'neighbor'))
  symlinkSync('.git', join(root, 'repo'))
  symlinkSync('.git/config', join(root, 'settings'))
  symlinkSync('loop', join(root, 'loop'))
  return root
}

async function read(root: string, path: string, options?: OpenInsideOptions): Promise<string> {
  const { handle } = await openInside(root, path.split('/'), options)
  try {
    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}

const codeOf = (opening: Promise<unknown>) =>
  opening.then(
    value => value,
    ({ code }) => code,
  )

describe('openInside', () => {
  for (const [path, following, strict, visible = following] of [
    ['a', 'open', 'open'],
    ['in/a', 'open', 'open'],
    ['x (deleted)', 'open', 'open'],
    ['.well-known/a', 'open', 'open'],
    ['alias', 'open', 'ELOOP'],
    ['again/a', 'open', 'ENOTDIR'],
    ['leak', 'EACCES', 'ELOOP'],
    ['out/a', 'EACCES', 'ENOTDIR'],
    ['neighbor/a', 'EACCES', 'ENOTDIR'],
    ['../secret/a', 'EACCES', 'EACCES'],
    ['loop', 'ELOOP', 'ELOOP'],
    ['nowhere', 'ENOENT', 'ENOENT'],
    ['a/b', 'ENOTDIR', 'ENOTDIR'],
    ['.git/config', 'hidden', 'hidden', 'EACCES'],
    ['repo/config', 'hidden', 'ENOTDIR', 'EACCES'],
    ['settings', 'hidden', 'ELOOP', 'EACCES'],
  ] as const)
    it(`${path}: ${following}, without links ${strict}, without hidden names ${visible}`, async t => {
      const root = tree(t)
      assert.equal(await codeOf(read(root, path)), following)
      assert.equal(await codeOf(read(root, path, { links: 'none' })), strict)
      assert.equal(await codeOf(read(root, path, { hidden: false })), visible)
    })

  it('does not wait for the writer of a named pipe', async t => {
    const root = tree(t)
    execFileSync('mkfifo', [join(root, 'pipe')])
    const { handle, stats } = await openInside(root, ['pipe'])
    assert.equal(stats.isFIFO(), true)
    await handle.close()
  })

  it('opens the root itself, also if that is /', async t => {
    const root = tree(t)
    for (const [from, names] of [
      [root, []],
      ['/', root.split('/').slice(1)],
    ] as const) {
      const { handle, path } = await openInside(from, names, { flags: constants.O_DIRECTORY, links: 'none' })
      assert.equal(path, root)
      await handle.close()
    }
  })

  it('gives an entry that leads to the open folder when its path has another', async t => {
    const root = tree(t)
    const { handle, entry } = await openInside(root, ['in'])
    renameSync(join(root, 'in'), join(root, 'away'))
    mkdirSync(join(root, 'in'))
    writeFileSync(join(root, 'in/a'), 'other')
    assert.equal(await (await open(`${entry}/a`)).readFile('utf8').finally(() => handle.close()), 'open')
  })

  it('compares the opened file with the one at its real path where there is no /proc', async t => {
    const root = tree(t)
    const handle = await open(join(root, 'alias'))
    assert.deepEqual(await samePath(handle, join(root, 'alias')), { path: join(root, 'a'), entry: join(root, 'a') })
    rmSync(join(root, 'alias'))
    symlinkSync('in/a', join(root, 'alias'))
    await assert.rejects(samePath(handle, join(root, 'alias')), { code: 'ENOENT' })
    await handle.close()
  })

  for (const [kind, path, inside, outside] of [
    ['folder', 'in/a', 'in', '../secret'],
    ['file', 'in/a', 'in/a', '../../secret/a'],
    ['folder above a folder', 'deep/in/a', 'deep', '../far'],
  ] as const)
    for (const links of ['inside', 'none'] as const)
      it(`reads the same file while a ${kind} is swapped with a link to the outside, links: ${links}`, async t => {
        const root = tree(t)
        for (const [name, text] of [
          [join(root, 'deep/in'), 'open'],
          [join(root, '../far/in'), 'secret'],
        ] as const) {
          mkdirSync(name, { recursive: true })
          writeFileSync(join(name, 'a'), text)
        }
        const found = new Map<string, number>()
        await whileSwapping(t, join(root, inside), outside, async () => {
          const hasBoth = () => found.has('open') && found.size > 1
          for (let i = 0; i < 3000 || (i < 100_000 && !hasBoth()); i++) {
            const text = String(await codeOf(read(root, path, { links })))
            found.set(text, (found.get(text) ?? 0) + 1)
          }
        })
        assert.deepEqual(
          [...found.keys()].filter(text => !['open', 'EACCES', 'ENOTDIR', 'ELOOP', 'ENOENT'].includes(text)),
          [],
        )
        assert.ok(found.get('open')! > 0 && found.size > 1, JSON.stringify([...found]))
      })
})
