import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { describe, it } from 'node:test'
import { Names } from '../../examples/media/names.ts'
import { fakeClient } from '../../src/testing/index.ts'
import { browser, PHONE_CONTEXT } from '../support/browser.ts'
import { enter, file, hills, room, say, seen, two } from '../support/media-room.ts'
import { becomes, until } from '../support/peer.ts'

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
    await becomes(() => ann.locator('#feed .from').allTextContents(), ['you', 'guest-2'])
    await becomes(() => bob.locator('#feed .from').allTextContents(), ['guest-1', 'you'])
    await becomes(() => bob.textContent('#status'), 'connected, 2 here')
    assert.equal(await bob.inputValue('#name'), 'guest-2')
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
    await becomes(() => ann.evaluate<number>('shown.at(-1)'), size)
    const shown = await ann.evaluate<number[]>('shown')
    const between = new Set(shown.filter(value => value > 0 && value < size))
    assert.ok(between.size >= 10, `${between.size} values: ${shown}`)
    assert.deepEqual(
      shown,
      shown.toSorted((a, b) => a - b),
    )
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
    await becomes(() => refused.count(), 1)
    assert.equal(await bob.locator('#feed .item').count(), 0)
    await becomes(() => readdirSync(uploads), [])
  })

  it('works with the keyboard only', async t => {
    const { ann, bob } = await two(t)
    const focused = () => ann.evaluate<string>('document.activeElement.id')
    await ann.focus('#name')
    const order = ['name']
    for (let count = 0; count < 7; count++) {
      await ann.keyboard.press('Tab')
      order.push(await focused())
    }
    assert.deepEqual(order, ['name', 'listen', 'feed', 'image', 'file', 'microphone', 'line', 'send'])
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

describe('examples/media: names', () => {
  for (const [wanted, name] of [
    ['ann', 'ann'],
    [' Ann  Lee ', 'Ann Lee'],
    ["O'Brien", "O'Brien"],
    ['J. Doe-Smith_2', 'J. Doe-Smith_2'],
    ['Zoe\u0301', 'Zo\u00e9'],
    ['\u0939\u093f\u0928\u094d\u0926\u0940', '\u0939\u093f\u0928\u094d\u0926\u0940'],
    ['guest-1', 'guest-1'],
    ['GUEST-1', 'GUEST-1'],
    ['x'.repeat(20), 'x'.repeat(20)],
  ] as const)
    it(`may be ${JSON.stringify(wanted)}`, () => {
      const [names, ann] = [new Names(), fakeClient()]
      names.add(ann)
      assert.equal(names.rename(ann, wanted), undefined)
      assert.equal(names.get(ann), name)
    })

  const RULE = "a name is 1 to 20 letters, digits, spaces or . ' _ -, received "
  for (const [wanted, problem] of [
    ['', `${RULE}""`],
    ['   ', `${RULE}"   "`],
    ['x'.repeat(21), `${RULE}"${'x'.repeat(21)}"`],
    ['x'.repeat(99), `${RULE}"${'x'.repeat(40)}…"`],
    ['<b>ann</b>', `${RULE}"<b>ann</b>"`],
    ['ann\u202e', `${RULE}"ann\u202e"`],
    ['a\u200bnn', `${RULE}"a\u200bnn"`],
    ['\u0301', `${RULE}"\u0301"`],
    [5, `${RULE}number`],
    [null, `${RULE}null`],
    [['ann'], `${RULE}object`],
    ['you', 'the name "you" is taken, choose another one'],
    ['Camera', 'the name "Camera" is taken, choose another one'],
    ['guest-2', 'the name "guest-2" is taken, choose another one'],
    ['GUEST-2', 'the name "GUEST-2" is taken, choose another one'],
    ['\uff47uest-2', 'the name "\uff47uest-2" is taken, choose another one'],
  ] as const)
    it(`may not be ${JSON.stringify(wanted).slice(0, 40)}`, () => {
      const [names, ann] = [new Names(), fakeClient()]
      names.add(ann)
      names.add(fakeClient({ id: 'bob' }))
      assert.equal(names.rename(ann, wanted), problem)
      assert.equal(names.get(ann), 'guest-1')
    })

  it('are free again after a change and after the end of a client; no guest gets one in use', () => {
    const [names, ann, bob, carol] = [new Names(), fakeClient(), fakeClient({ id: 'b' }), fakeClient({ id: 'c' })]
    names.add(ann)
    assert.equal(names.rename(ann, 'guest-2'), undefined)
    names.add(bob)
    assert.equal(names.get(bob), 'guest-3')
    names.delete(ann)
    assert.equal(names.rename(bob, 'guest-2'), undefined)
    names.add(carol)
    assert.equal(names.rename(carol, 'guest-3'), undefined)
    assert.equal(names.size, 2)
  })
})

describe('examples/media: the page and its people', () => {
  it('takes a name, shows the change to others, and keeps it after a reload', async t => {
    const { ann, bob } = await two(t)
    await say(ann, 'as a guest')
    const name = ann.getByRole('textbox', { name: 'Name' })
    await name.fill('Ann')
    await name.press('Enter')
    await bob.locator('#feed .note', { hasText: 'guest-1 is now Ann' }).waitFor()
    await say(ann, 'as Ann')
    await seen(bob, 'as Ann')
    await becomes(() => bob.locator('#feed .from').allTextContents(), ['guest-1', 'Ann'])
    await becomes(() => ann.locator('#feed .mine').count(), 2)
    await bob.fill('#name', 'ann')
    await bob.press('#name', 'Tab')
    await bob.getByRole('alert').getByText('the name "ann" is taken, choose another one').waitFor()
    assert.equal(await bob.inputValue('#name'), 'guest-2')
    await ann.reload()
    await until(async () => (await ann.inputValue('#name')) === 'Ann', 'her name')
  })

  it('says how others join while it is alone, and nothing of dropping on a phone', async t => {
    const chromium = await browser(t)
    const { http } = await room(t)
    const context = await chromium.newContext(PHONE_CONTEXT)
    const ann = await context.newPage()
    await ann.goto(http)
    const join = `You are alone here. Open ${http}/ in a second window; other devices need a server with --host, --key and --cert.`
    await ann.getByRole('status').getByText(join).waitFor()
    assert.doesNotMatch(await ann.innerText('body'), /drop/i)
    const bob = await enter(t, chromium, http)
    await ann.locator('#join:empty').waitFor({ state: 'attached' })
    assert.match(await bob.innerText('#hint'), /dropped on this page/)
    await bob.close()
    await ann.getByRole('status').getByText(join).waitFor()
  })

  it('has touch targets of 44 pixels, and words on its buttons that are part of their names', async t => {
    const { ann } = await two(t)
    await ann.setInputFiles('#file', { name: 'setup.exe', mimeType: 'text/plain', buffer: Buffer.from('MZ') })
    await ann.locator('.refused').waitFor()
    const small = `[...document.querySelectorAll('button, .button, #line, #name')].filter(e => e.offsetHeight > 0)
      .filter(e => e.offsetHeight < 44 || e.offsetWidth < 44).map(e => e.textContent.trim())`
    assert.deepEqual(await ann.evaluate(small), [])
    const named = `[...document.querySelectorAll('button')].filter(e => e.ariaLabel !== null)
      .every(e => e.ariaLabel.startsWith(e.textContent))`
    assert.equal(await ann.evaluate(named), true)
  })

  it('stays at the end when rows of uploads appear, and offers new messages after a scroll up', async t => {
    const { ann, bob } = await two(t)
    for (let index = 0; index < 30; index++) await say(bob, `message ${index}`)
    await seen(ann, 'message 29')
    const gap = () =>
      ann.evaluate<number>(`(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)(
        document.getElementById('feed'))`)
    // The scroll event comes when the end is farther away.
    await ann.evaluate(`{
      const feed = document.getElementById('feed')
      feed.scrollTop = feed.scrollHeight - 1
      document.getElementById('uploads').append(Object.assign(document.createElement('li'), { textContent: 'row', id: 'row' }))
      row.style = 'height: 200px'
      document.getElementById('uploads').style.maxHeight = 'none'
    }`)
    await until(async () => (await gap()) < 2, 'the end')
    await ann.evaluate(`document.getElementById('feed').scrollTop = 0`)
    await ann.evaluate('new Promise(requestAnimationFrame)')
    await say(bob, 'the newest')
    const latest = ann.getByRole('button', { name: 'New messages' })
    await latest.waitFor()
    await latest.click()
    await until(async () => (await gap()) < 2, 'the end')
    await latest.waitFor({ state: 'hidden' })
  })
})
