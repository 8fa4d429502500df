import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { Page } from 'playwright-core'
import { browser, DESKTOP, PHONE, screenshot, skipWithoutBrowser, UNREACHABLE } from '../support/browser.ts'
import { root } from '../support/cli.ts'
import { envelope, opened, vector } from '../support/media.ts'
import { enter, file, hills, room, say, seen, two } from '../support/media-room.ts'
import { becomes, Peer, serve, until } from '../support/peer.ts'
import { freePort } from '../support/port.ts'

/** Heights of the audio bars, from 0 to 1; `left` is the oldest. */
const bars = (page: Page) =>
  page.evaluate<{ tallest: number; left: number }>(`(() => {
    const canvas = document.getElementById('wave')
    const tall = width => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, width, canvas.height)
      return Array.from({ length: canvas.height }, (_, row) => data.subarray(row * width * 4, (row + 1) * width * 4))
        .filter(pixels => pixels.some(Boolean)).length / canvas.height
    }
    return canvas.width > 8 && canvas.height > 8 ? { tallest: tall(canvas.width), left: tall(8) } : { tallest: 0, left: 0 }
  })()`)

/** The height of silence is 0.1. */
const isLoud = async (page: Page) => (await bars(page)).tallest > 0.25

describe('examples/media: the page, live', { skip: skipWithoutBrowser }, () => {
  it('gives the floor to one speaker at a time', async t => {
    const { ann, bob } = await two(t)
    await ann.click('#microphone')
    await until(() => isLoud(bob), 'sound')
    await becomes(() => bob.textContent('#speaker'), 'guest-1 is speaking; press Listen to hear it')
    await bob.click('#listen')
    await becomes(() => bob.textContent('#speaker'), 'guest-1 is speaking')
    await becomes(() => ann.textContent('#speaker'), 'you are speaking; others hear it after they press Listen')
    // Also for a page that is opened meanwhile, and after a change of the name.
    await bob.reload()
    await bob.locator('#speaker', { hasText: 'guest-1 is speaking' }).waitFor()
    await ann.fill('#name', 'Ann')
    await ann.press('#name', 'Enter')
    await bob.locator('#speaker', { hasText: 'Ann is speaking' }).waitFor()
    await until(() => isLoud(ann), 'her own sound')
    await bob.click('#microphone')
    await bob.locator('#alerts .warning', { hasText: 'Ann is speaking; wait a moment' }).waitFor()
    await bob.locator('#microphone[aria-pressed=false]').waitFor()
    await ann.click('#microphone')
    await bob.locator('#voice').waitFor({ state: 'hidden' })
    await bob.click('#microphone')
    await ann.locator('#speaker', { hasText: 'guest-3 is speaking' }).waitFor()
  })

  it('releases a microphone that the browser grants too late', async t => {
    const { ann, bob } = await two(t)
    await ann.evaluate(`(() => {
      const { mediaDevices } = navigator
      const open = mediaDevices.getUserMedia.bind(mediaDevices)
      const streams = []
      let allow
      const allowed = new Promise(resolve => (allow = resolve))
      mediaDevices.getUserMedia = async wanted => {
        await allowed
        const stream = await open(wanted)
        streams.push(stream)
        return stream
      }
      Object.assign(window, { streams, allow })
    })()`)
    for (const pressed of ['true', 'false', 'true']) {
      await ann.click('#microphone')
      assert.equal(await ann.getAttribute('#microphone', 'aria-pressed'), pressed)
    }
    await ann.evaluate('allow()')
    const open = `streams.filter(stream => stream.getTracks().some(({ readyState }) => readyState === 'live')).length`
    await bob.locator('#speaker', { hasText: 'guest-1 is speaking' }).waitFor({ state: 'attached' })
    await until(async () => (await ann.evaluate('streams.length')) === 2)
    await until(async () => (await ann.evaluate(open)) === 1, 'one microphone')
    await ann.click('#microphone')
    await until(async () => (await ann.evaluate(open)) === 0, 'no microphone')
  })

  it('reconnects when the server is killed and restarted, and sends the messages written meanwhile', async t => {
    const chromium = await browser(t)
    const port = `${await freePort()}`
    const { server, http } = await room(t, port)
    const ann = await enter(t, chromium, http, DESKTOP, UNREACHABLE)
    const bob = await enter(t, chromium, http, DESKTOP, UNREACHABLE)
    await ann.fill('#name', 'Ann')
    await ann.press('#name', 'Enter')
    await bob.locator('#feed .note').waitFor()
    await server.kill()
    await ann.locator('#status', { hasText: 'offline, trying again' }).waitFor()
    await bob.locator('#status', { hasText: 'offline, trying again' }).waitFor()
    await say(ann, 'written offline')
    await ann.click('#microphone')
    await ann.getByRole('alert').getByText('offline: talk when the page is connected again').waitFor()
    assert.equal(await ann.getAttribute('#microphone', 'aria-pressed'), 'false')
    await becomes(() => ann.textContent('#status'), 'offline, trying again, 1 to send')
    await room(t, port)
    await bob.locator('#status', { hasText: /, \d here/ }).waitFor()
    await ann.locator('#status', { hasText: /, 2 here/ }).waitFor()
    await say(bob, 'back again')
    await seen(ann, 'back again')
    await seen(ann, 'written offline')
    const own = ann.locator('.item', { hasText: 'written offline' })
    assert.equal(await own.getAttribute('data-from'), 'Ann')
    assert.match((await own.getAttribute('class'))!, /mine/)
  })

  it('looks like the screenshots, and fits a phone', async t => {
    const chromium = await browser(t)
    const { http } = await room(t)
    const ann = await enter(t, chromium, http)
    const bob = await enter(t, chromium, http, PHONE)
    await say(ann, 'Good morning, is this thing on?')
    await seen(bob, 'Good morning')
    await say(bob, 'It is. Here is the view from up here')
    await bob.setInputFiles('#image', { name: 'hills.png', mimeType: 'image/png', buffer: await hills(bob) })
    await ann.locator('#feed img').waitFor()
    await ann.setInputFiles('#file', file(t, 'minutes of the meeting.txt', 234_567))
    await bob.locator('#feed .file').waitFor()
    await ann.setInputFiles('#file', {
      name: 'setup.exe',
      mimeType: 'application/x-msdownload',
      buffer: Buffer.from('MZ'),
    })
    await ann.locator('.refused').waitFor()
    await ann.click('#listen')
    await bob.click('#microphone')
    await until(async () => (await bars(ann)).left > 0, 'a full line of sound', 60_000)
    await screenshot(ann, 'media')
    await screenshot(bob, 'media-phone')
    assert.equal(await bob.evaluate('document.documentElement.scrollWidth'), PHONE.width)
  })
})

describe('examples/media: the room', { skip: skipWithoutBrowser }, () => {
  const [JSON_, BINARY, FILE, AUDIO, IMAGE] = [0, 2, 3, 4, 5] as const
  /** One pixel. */
  const PNG = vector('c2s/image png').subarray(32)

  /** A client and its messages, without the list of clients. */
  async function guest(http: string) {
    const peer = await Peer.open(http.replace('http:', 'ws:'))
    const messages = () =>
      peer.received
        .map(message => opened(message))
        .filter(({ type, said }) => type !== JSON_ || said.here === undefined)
    await until(() => messages().length > 0, 'a welcome')
    return { peer, messages }
  }

  it('refuses bytes without a kind, with an error', async t => {
    const { http } = await room(t)
    const { peer, messages } = await guest(http)
    peer.send(envelope(BINARY, 'bytes'))
    await until(() => messages().length === 2, 'an alert')
    const { level, category, message } = messages()[1]!.said.alert
    assert.deepEqual([level, category, message], ['error', 'kind', 'this room accepts text, images, files and sound'])
  })

  /** A server whose clock stands still, and two guests. */
  async function withClock(t: TestContext) {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const { url } = await serve(t, { filters: ['media', join(root, 'examples/media/media-demo.ts')] })
    return [await guest(url), await guest(url)] as const
  }

  it('notifies a client once that it cannot speak yet, and admits it after a second of silence', {
    timeout: 60_000,
  }, async t => {
    const [ann, bob] = await withClock(t)
    const sound = (id: number) => envelope(AUDIO, Buffer.from([id, 0]), '16000', id)
    ann.peer.send(sound(1))
    await until(() => bob.messages().length === 3, 'sound')
    assert.deepEqual(
      bob
        .messages()
        .slice(1)
        .map(({ type, said, metadata }) => [type, said, metadata]),
      [
        [JSON_, { from: 'guest-1', speaks: true }, ''],
        [AUDIO, Buffer.from([1, 0]), '16000'],
      ],
    )
    for (const id of [2, 3]) bob.peer.send(sound(id))
    bob.peer.send(envelope(1, 'and so'))
    await until(() => bob.messages().length === 5, 'an alert and the text')
    assert.deepEqual(
      bob
        .messages()
        .slice(3)
        .map(({ said }) => said.alert?.message ?? said),
      ['guest-1 is speaking; wait a moment', { from: 'guest-2', text: 'and so' }],
    )
    t.mock.timers.tick(1000)
    bob.peer.send(sound(4))
    await until(() => ann.messages().some(({ said }) => said.from === 'guest-2' && said.speaks), 'its turn')
    await until(() => ann.messages().at(-1)!.type === AUDIO, 'its sound')
  })

  it('notifies a client again that retries while the same client speaks', { timeout: 60_000 }, async t => {
    const [ann, bob] = await withClock(t)
    const sound = envelope(AUDIO, Buffer.from([1, 0]))
    const speak = async () => {
      const count = bob.messages().length
      ann.peer.send(sound)
      await until(
        () =>
          bob
            .messages()
            .slice(count)
            .some(({ type }) => type === AUDIO),
        'sound',
      )
    }
    const alerts = () => bob.messages().filter(({ said }) => said.alert !== undefined).length
    await speak()
    bob.peer.send(sound)
    await until(() => alerts() === 1, 'an alert')
    for (let i = 0; i < 2; i++) {
      t.mock.timers.tick(600)
      await speak()
    }
    bob.peer.send(sound)
    await until(() => alerts() === 2, 'another alert')
  })

  it('also shares media that arrives in one message: with a file extension it is stored, otherwise it is shown only', async t => {
    const chromium = await browser(t)
    const { http } = await room(t)
    const page = await enter(t, chromium, http)
    const { peer, messages } = await guest(http)
    peer.send(envelope(IMAGE, PNG, 'png'))
    await page.locator('#feed a img').waitFor()
    const shared = () => messages().find(({ type, said }) => type === JSON_ && said.file !== undefined)
    await until(() => shared() !== undefined, 'the file')
    const { url, ...file } = shared()!.said.file
    assert.deepEqual(file, { kind: 'image', size: PNG.length, name: 'unnamed.png' })
    assert.deepEqual(Buffer.from(await (await fetch(http + url)).arrayBuffer()), PNG)
    peer.send(envelope(IMAGE, PNG))
    const seen = `[...document.querySelectorAll('#feed img[src^=blob]')].some(({ naturalWidth }) => naturalWidth === 1)`
    await until(() => page.evaluate<boolean>(seen), 'a picture')
    peer.send(envelope(FILE, 'text'))
    await until(() => messages().at(-1)?.said.alert !== undefined, 'an alert')
    assert.equal(messages().at(-1)!.said.alert.message, 'a file needs an extension to be shared')
  })
})
