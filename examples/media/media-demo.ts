import type { Client, Host } from 'filtered-websocket'
import type { Media } from '../../filters/media.ts'

export const uses = ['media']

/** Milliseconds of silence after which somebody else may speak. */
const PAUSE = 1000

/**
 * A room in which people share text, images, files and their voices. Each hears as JSON what came `from` whom: `text`, or
 * `file` with the URL at which it is served; sound comes as it is, of one speaker at a time.
 */
export const setup = (host: Host) => {
  const media = host.use('media')
  const names = new Map<Client, string>()
  let guests = 0
  let speaker: Client | undefined
  let spokeAt = 0
  /** When somebody last spoke too soon. */
  const tooSoon = new WeakMap<Client, number>()

  /** To everybody, the sender too: all see one order. */
  const share = (client: Client, what: object) =>
    media.broadcast(client.server, 'json', { from: names.get(client), ...what })

  media.on('connect', client => {
    names.set(client, `guest-${++guests}`)
    media.send(client, 'json', { you: names.get(client) })
    media.broadcast(client.server, 'json', { here: names.size }, { local: true })
  })
  media.on('disconnect', client => {
    names.delete(client)
    media.broadcast(client.server, 'json', { here: names.size }, { local: true })
  })

  media.on('text', ({ payload }, client) => share(client, { text: payload }))
  media.on('upload', ({ payload }, client) => share(client, { file: payload }))
  media.on('file', shareSaved)
  media.on('image', (image, client) => {
    // As of a camera: seen, not kept.
    if (image.url === undefined)
      media.broadcast(client.server, 'image', image.payload, { metadata: image.metadata, except: client })
    else shareSaved(image, client)
  })
  media.on('audio', ({ payload, metadata }, client) => {
    const now = Date.now()
    if (speaker !== client) {
      if (now - spokeAt < PAUSE) return hush(client, now)
      speaker = client
      share(client, { speaks: true })
    }
    spokeAt = now
    media.broadcast(client.server, 'audio', payload, { metadata, except: client })
  })
  media.on('binary', (_, client) => {
    media.alert(client, 'this room takes text, images, files and sound', { level: 'error', category: 'kind' })
  })

  /** A file in one message, as the original browser client sends it: it has no name. */
  function shareSaved({ kind, url, size, metadata }: Media, client: Client): void {
    if (url !== undefined) share(client, { file: { kind, url, size, name: `unnamed.${metadata}` } })
    else media.alert(client, 'a file needs an extension to be shared', { level: 'error', category: 'upload' })
  }

  /** Two voices, piece by piece in one line, would be noise. */
  function hush(client: Client, now: number): void {
    const before = tooSoon.get(client)
    tooSoon.set(client, now)
    // Told already: it has not stopped yet.
    if (before !== undefined && now - before < PAUSE) return
    media.alert(client, `${names.get(speaker!) ?? 'somebody'} is speaking; wait a moment`, { category: 'voice' })
  }
}
