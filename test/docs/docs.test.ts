import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, it } from 'node:test'
import { root } from '../support/root.ts'

const pages = readdirSync(root, { withFileTypes: true })
  .filter(({ name }) => !/^(node_modules|dist|\..*)$/.test(name))
  .flatMap(entry => (entry.isDirectory() ? inside(entry.name) : entry.name))
  .filter(path => path.endsWith('.md') && !/\bnode_modules\//.test(path))
const textOf = (page: string) => readFileSync(join(root, page), 'utf8')
/** Without code. */
const proseOf = (page: string) => textOf(page).replace(/^```[\s\S]*?^```$|`[^`]*`/gm, '`')

function inside(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(path => join(folder, path))
}

/** Anchors of a page, as GitHub makes them of its headings. */
function anchorsOf(page: string): string[] {
  return [...textOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

/** Words that the docs avoid, and what they use instead. */
const INSTEAD: readonly (readonly [RegExp, string])[] = [
  [/\bwhoever\b|(?<=^|[.;:|(] )who\b/gim, 'clients that, a user that'],
  [/\bnobody\b/gi, 'not'],
  [/\btold\b/gi, 'notified, set'],
  [/\bnoted\b/gi, 'recorded'],
  [/\bmend(s|ed|ing)?\b/gi, 'fix'],
  [/\banew\b/gi, 'again'],
  [/\bbeside\b/gi, 'next to, with'],
  [/\bgoodbye\b/gi, 'close'],
  [/\bfor ever\b/gi, 'without limit'],
  [/\bas it is\b|\bas they are\b/gi, 'unchanged'],
]

describe('the docs', () => {
  it('are found', () => {
    for (const page of [
      'README.md',
      'CHANGELOG.md',
      'docs/README.md',
      'docs/guide/messaging.md',
      'examples/car/README.md',
    ])
      assert.ok(pages.includes(page), page)
  })

  for (const page of pages) {
    it(`${page} has valid links`, () => {
      const links = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)
      for (const link of links.filter(target => !/^https?:/.test(target))) {
        const [path, anchor] = link.split('#') as [string, string | undefined]
        const target = path === '' ? page : join(dirname(page), path)
        assert.ok(existsSync(join(root, target)), `${link}: no such file`)
        if (anchor !== undefined) assert.ok(anchorsOf(target).includes(anchor), `${link}: no such heading`)
      }
    })

    // It is generated from the option objects.
    if (page === 'docs/reference/options.md') continue
    it(`${page} is in plain English`, () => {
      const found = INSTEAD.flatMap(([words, instead]) =>
        [...proseOf(page).matchAll(words)].map(({ 0: word, index }) => {
          const around = proseOf(page).slice(Math.max(0, index - 40), index + 40)
          return `"${word}", not "${instead}": ...${around.replaceAll('\n', ' ')}...`
        }),
      )
      assert.deepEqual(found, [])
    })
  }

  it('architecture.md names exactly the files of the rooms', () => {
    const rooms = [...textOf('docs/architecture.md').matchAll(/^\| `(\w+)` \| (`[^|]*`[^|]*) \|[^|]*\|$/gm)]
    assert.deepEqual(
      rooms.map(([, room]) => room).sort(),
      readdirSync(join(root, 'src'), { withFileTypes: true }).flatMap(entry =>
        entry.isDirectory() ? [entry.name] : [],
      ),
    )
    for (const [, room, cell] of rooms) {
      const files = readdirSync(join(root, 'src', room!)).flatMap(file => /^(.*)\.ts$/.exec(file)?.[1] ?? [])
      assert.deepEqual(
        [...cell!.matchAll(/`([\w-]+)`/g)].map(([, file]) => file!).sort(),
        files.filter(file => file !== 'index').sort(),
        room,
      )
    }
  })

  it('SECURITY.md names tests that exist', () => {
    const rows = textOf('SECURITY.md').matchAll(/^\|.*\| ([^|]*`[^|]*) \|$/gm)
    const names = [...rows].flatMap(([, cell]) => [...cell!.matchAll(/`([\w./*-]+)`/g)].map(([, name]) => name!))
    const tests = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' }).filter(file =>
      file.endsWith('.test.ts'),
    )
    const exists = (name: string) => {
      const end = name.replace('*', '')
      return tests.some(file => {
        const test = file.replace(/(?:\.long)?\.test\.ts$/, '')
        return test === name || test.endsWith(`/${name}`) || (name.includes('*') && `/${test}`.includes(`/${end}`))
      })
    }
    assert.ok(names.length > 80)
    assert.deepEqual([...new Set(names.filter(name => !name.startsWith('--') && !exists(name)))], [])
  })

  it('index names every page of the guide, the reference and operations', () => {
    const index = textOf('docs/README.md')
    const listed = pages.filter(page => /^docs\/(guide|reference|operations)\//.test(page))
    assert.deepEqual(
      listed.filter(page => !index.includes(`(${relative('docs', page)})`)),
      [],
    )
  })
})
