import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Page } from 'playwright-core'
import type { FilterModule } from '../../../src/contract/filter.ts'
import { browser, skipWithoutBrowser, watched } from '../../support/browser.ts'
import { folder } from '../../support/cli.ts'
import { serve } from '../../support/peer.ts'

/** Returns messages unchanged, with the ids of the client, as a server of envelopes. */
const mirror: FilterModule = { message: (payload, client) => client.send(payload) }

/** A connected page of the server, with the default Content-Security-Policy. */
async function open(t: TestContext): Promise<Page> {
  // Before its server, so that it is closed first: a page without a server logs errors.
  const chromium = await browser(t)
  const pagesRoot = folder(t, { 'index.html': '<!doctype html><link rel="icon" href="data:,"><p>page</p>' })
  const { url } = await serve(t, { filters: ['pages', mirror], pagesRoot })
  const page = watched(t, await chromium.newPage())
  await page.goto(url.replace('ws:', 'http:'))
  await page.evaluate(`(async () => {
    const library = await import('/fws/media.js')
    const media = library.connectMedia(location.href.replace('http', 'ws'))
    await new Promise(resolve => media.on('open', resolve))
    /** The first messages of a kind, until enough() returns true. */
    const collect = (type, enough) => new Promise(resolve => {
      const all = []
      const stop = media.on(type, event => {
        all.push(event)
        if (enough(all)) stop(resolve(all))
      })
    })
    Object.assign(window, { library, media, collect })
  })()`)
  return page
}

describe('the microphone of a browser', { skip: skipWithoutBrowser }, () => {
  it('is sent as mono sound, 40 ms per message, which a player plays', async t => {
    const page = await open(t)
    const result = await page.evaluate<Record<string, unknown>>(`(async () => {
      const sent = []
      const player = media.player()
      const isHeard = all => player.queued > 0 && all.some(({ payload }) => library.levelOf(payload) > 0.01)
      const collected = collect('audio', all => all.length > 50 && isHeard(all))
      const microphone = await media.microphone({ onSamples: samples => sent.push(library.levelOf(samples)) })
      const all = await collected
      const { isPlaying } = player
      microphone.stop()
      // All of it is played.
      while (player.queued > 0) await new Promise(resolve => setTimeout(resolve, 20))
      player.stop()
      await Promise.all([microphone.closed, player.closed])
      const levels = all.map(({ payload }) => library.levelOf(payload))
      return {
        rate: microphone.rate,
        rates: [...new Set(all.map(({ rate }) => rate))],
        lengths: [...new Set(all.map(({ payload, rate }) => payload.length / rate))],
        channels: [...new Set(all.map(({ channels }) => channels))],
        ids: all.every(({ id }, index) => id === index),
        same: JSON.stringify(sent.slice(0, levels.length)) === JSON.stringify(levels),
        isPlaying,
      }
    })()`)
    const { rate } = result
    assert.deepEqual(result, {
      rate,
      rates: [rate],
      lengths: [0.04],
      channels: [1],
      ids: true,
      same: true,
      isPlaying: true,
    })
  })

  it('is sent at a chosen rate, and not after its signal', async t => {
    const page = await open(t)
    const result = await page.evaluate(`(async () => {
      const stop = new AbortController()
      const collected = collect('audio', all => all.length === 3)
      const microphone = await media.microphone({ rate: 16000, signal: stop.signal })
      const [{ metadata, rate, payload }] = await collected
      let late = 0
      stop.abort()
      await microphone.closed
      // Audio that was sent before has arrived when this text arrives.
      const after = collect('text', () => true)
      media.send('text', 'end')
      await after
      media.on('audio', () => late++)
      const end = collect('text', () => true)
      setTimeout(() => media.send('text', 'end'), 200)
      await end
      return { metadata, rate, length: payload.length, late }
    })()`)
    assert.deepEqual(result, { metadata: '16000', rate: 16_000, length: 640, late: 0 })
  })
})

describe('the camera of a browser', { skip: skipWithoutBrowser }, () => {
  it('sends no picture that is encoded after stop()', async t => {
    const page = await open(t)
    const result = await page.evaluate(`(async () => {
      const { toBlob } = HTMLCanvasElement.prototype
      const finished = new Promise(resolve => {
        HTMLCanvasElement.prototype.toBlob = function (done, ...how) {
          toBlob.call(this, jpeg => resolve(() => done(jpeg)), ...how)
        }
      })
      const camera = await media.camera({ fps: 20, width: 160 })
      const finish = await finished
      camera.stop()
      await camera.closed
      let late = 0
      media.on('image', () => late++)
      await finish()
      const end = collect('text', () => true)
      media.send('text', 'end')
      await end
      return late
    })()`)
    assert.equal(result, 0)
  })

  it('is sent as JPEG pictures that the server does not save', async t => {
    const page = await open(t)
    const result = await page.evaluate(`(async () => {
      const collected = collect('image', all => all.length === 3)
      const camera = await media.camera({ fps: 20, width: 160, quality: 0.5 })
      const all = await collected
      const [track] = camera.stream.getTracks()
      camera.stop()
      await camera.closed
      const { width, height } = await createImageBitmap(new Blob([all[0].payload], { type: all[0].mime }))
      return { width, height, mime: all[0].mime, metadata: all[0].metadata, ready: track.readyState }
    })()`)
    assert.deepEqual(result, { width: 160, height: 120, mime: 'image/jpeg', metadata: '', ready: 'ended' })
  })
})
