import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { describe, it } from 'node:test'
import { file, hills, say, seen, two } from '../support/media-room.ts'
import { until } from '../support/peer.ts'

/** Records the progress bars of uploads, and calls `on` at the first change. */
const watchBars = (atFirst = '') => `{
  window.shown = []
  new MutationObserver(records => {
    for (const { target } of records) shown.push(target.value)
    if (shown.length === records.length) { ${atFirst} }
  }).observe(document.getElementById('uploads'), { subtree: true, attributeFilter: ['value'] })
}`

describe('examples/media: the page', () => {
  it('shares text with all clients, never as HTML', async t => {
    const { ann, bob } = await two(t)
    const markup = `<img src=x onerror="alert('1')"> "quoted"`
    await say(ann, markup)
    await seen(bob, markup)
    await say(bob, '"in quotes"')
    await seen(ann, '"in quotes"')
    assert.deepEqual(await ann.locator('#feed .from').allTextContents(), ['you', 'guest-2'])
    assert.deepEqual(await bob.locator('#feed .from').allTextContents(), ['guest-1', 'you'])
    assert.equal(await bob.textContent('#status'), 'guest-2, 2 here')
  })

  it('shares an image, which other clients display at once', async t => {
    const { ann, bob, http } = await two(t)
    const picture = await hills(ann)
    await ann.setInputFiles('#image', { name: 'hills.png', mimeType: 'image/png', buffer: picture })
    const image = bob.locator('#feed img')
    await image.waitFor()
    await until(() => bob.evaluate<boolean>(`document.querySelector('#feed img').naturalWidth === 900`), 'its pixels')
    assert.equal(await image.getAttribute('alt'), 'hills.png')
    const url = (await image.getAttribute('src'))!
    assert.match(url, /^\/uploads\/\d{8}_\d{6}_\d{3}-[0-9a-f]{8}\.png$/)
    assert.deepEqual(Buffer.from(await (await fetch(http + url)).arrayBuffer()), picture)
    await ann.locator('#uploads li').waitFor({ state: 'detached' })
  })

  it('shares a file of 50 MB, and shows the progress of the upload', async t => {
    const { ann, bob, http } = await two(t)
    const size = 50 * 1024 * 1024
    await ann.evaluate(watchBars())
    await ann.setInputFiles('#file', file(t, 'large.txt', size))
    const link = bob.locator('#feed a')
    await link.waitFor()
    assert.equal(await link.textContent(), 'large.txt52 MB')
    assert.equal(await link.getAttribute('download'), 'large.txt')
    const shown = await ann.evaluate<number[]>('shown')
    const between = new Set(shown.filter(value => value > 0 && value < size))
    assert.ok(between.size >= 10, `${between.size} values: ${shown}`)
    assert.deepEqual(
      shown,
      shown.toSorted((a, b) => a - b),
    )
    assert.equal(shown.at(-1), size)
    const saved = await (await fetch(http + (await link.getAttribute('href')))).arrayBuffer()
    assert.equal(saved.byteLength, size)
    await ann.locator('#uploads li').waitFor({ state: 'detached' })
  })

  it('cancels an upload, and leaves no file', async t => {
    const { ann, bob, uploads } = await two(t)
    await ann.evaluate(watchBars(`document.querySelector('#uploads button').click()`))
    await ann.setInputFiles('#file', file(t, 'large.txt', 50 * 1024 * 1024))
    await until(() => ann.evaluate<boolean>('shown.length > 0'), 'progress')
    await ann.locator('#uploads li').waitFor({ state: 'detached' })
    await say(ann, 'after it')
    await seen(bob, 'after it')
    assert.equal(await bob.locator('#feed a').count(), 0)
    await until(() => readdirSync(uploads).length === 0, 'an empty folder')
  })

  it('shows why a file is refused until the message is dismissed', async t => {
    const { ann, bob, uploads } = await two(t)
    await ann.setInputFiles('#file', {
      name: 'setup.exe',
      mimeType: 'application/x-msdownload',
      buffer: Buffer.from('MZ'),
    })
    await ann.setInputFiles('#image', {
      name: 'not.png',
      mimeType: 'image/png',
      buffer: Buffer.from('text, not pixels'),
    })
    const refused = ann.locator('#uploads .refused')
    await until(async () => (await refused.count()) === 2, 'two refusals')
    for (const [index, name] of ['setup.exe', 'not.png'].entries()) {
      const row = ann.locator('.refused', { hasText: name })
      assert.equal(await row.getAttribute('role'), 'alert', `${index}`)
      assert.ok(await row.isVisible())
      assert.match((await row.locator('small').textContent())!, name === 'setup.exe' ? /exe/ : /png/)
    }
    await ann.getByRole('button', { name: 'Dismiss setup.exe' }).click()
    assert.equal(await refused.count(), 1)
    assert.equal(await bob.locator('#feed li').count(), 0)
    assert.deepEqual(readdirSync(uploads), [])
  })

  it('works with the keyboard only', async t => {
    const { ann, bob } = await two(t)
    const focused = () => ann.evaluate<string>('document.activeElement.id')
    await ann.focus('#listen')
    const order = ['listen']
    for (let count = 0; count < 5; count++) {
      await ann.keyboard.press('Tab')
      order.push(await focused())
    }
    assert.deepEqual(order, ['listen', 'image', 'file', 'microphone', 'line', 'send'])
    await ann.keyboard.press('Shift+Tab')
    await ann.keyboard.type('typed')
    await ann.keyboard.press('Tab')
    await ann.keyboard.press('Space')
    await seen(bob, 'typed')
    await ann.focus('#microphone')
    await ann.keyboard.press('Space')
    await ann.locator('#microphone[aria-pressed=true]').waitFor()
  })
})
