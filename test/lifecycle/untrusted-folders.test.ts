import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { UntrustedFolders } from '../../src/contract/filter.ts'
import { createUntrustedFolders } from '../../src/lifecycle/untrusted-folders.ts'
import { setUp, testServer } from '../../src/testing/index.ts'

const registry = (...paths: readonly string[]) => {
  const folders = createUntrustedFolders()
  for (const path of paths) folders.add(path, '--option')
  return folders
}

describe('untrusted folders', () => {
  for (const [folder, path, contains, overlaps] of [
    ['/a/b', '/a/b', true, true],
    ['/a/b', '/a/b/c', true, true],
    ['/a/b', '/a/b/c/d', true, true],
    ['/a/b', '/a', false, true],
    ['/a/b', '/', false, true],
    ['/a/b', '/a/bc', false, false],
    ['/a/b', '/a/b.html', false, false],
    ['/a/b', '/b/a/b', false, false],
    ['/', '/anything', true, true],
    ['/', '/', true, true],
  ] as const)
    it(`${folder} ${contains ? 'contains' : 'does not contain'} ${path}${overlaps ? ', and overlaps it' : ''}`, () => {
      const folders = registry('/elsewhere', folder)
      assert.equal(folders.contains(path), contains)
      assert.equal(
        folders.overlapping(path).some(({ path }) => path === folder),
        overlaps,
      )
    })

  it('belong to one server, and are visible to filters in any order', async t => {
    const seen = new Map<string, UntrustedFolders>()
    const filters = (name: string) => [
      {
        setup: ({ untrustedFolders }: { untrustedFolders: UntrustedFolders }) => ({
          start: () => void seen.set(name, untrustedFolders),
        }),
      },
      {
        setup: ({ untrustedFolders }: { untrustedFolders: UntrustedFolders }) => untrustedFolders.add(`/${name}`, '-x'),
      },
    ]
    for (const name of ['one', 'two']) {
      const server = await testServer(filters(name))
      t.after(() => server.stop())
    }
    assert.deepEqual(
      ['one', 'two'].map(name => [seen.get(name)!.contains('/one/a'), seen.get(name)!.contains('/two/a')]),
      [
        [true, false],
        [false, true],
      ],
    )
  })

  it('are available in setUp', async () => {
    let folders: UntrustedFolders | undefined
    const { stop } = await setUp({
      setup: host => {
        folders = host.untrustedFolders
      },
    })
    folders!.add('/a', '--a')
    assert.deepEqual(folders!.overlapping('/a/b'), [{ path: '/a', option: '--a' }])
    await stop!()
  })
})
