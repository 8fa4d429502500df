import type { Client, Host } from 'filtered-websocket'
import type { Media } from '../../filters/media.ts'
import { Names } from './names.ts'

export const uses = ['media']

/** Milliseconds of silence after which another client may speak. */
const PAUSE = 1000

/**
 * A room for text, images, files and voice. Clients get JSON with the sender in `from`, and `text`, or `file` with its URL. Sound
 * is sent unchanged, of one speaker at a time. A client takes a name by the JSON `{"name": "ann"}`.
 */
export const setup = (host: Host) => {
  const media = host.use('media')
  const names = new Names()
  let speaker: Client | undefined
  let spokeAt = 0
  /** Time of the last refused sound by client. */
  const refusedAt = new WeakMap<Client, number>()

  /** Also to the sender, so that all clients see the same order. */
  const share = (client: Client, fields: object) =>
    media.broadcast(client.server, 'json', { from: names.get(client), ...fields })

  media.on('connect', client => {
    names.add(client)
    media.send(client, 'json', { you: names.get(client) })
    if (speaker !== undefined && Date.now() - spokeAt < PAUSE)
      media.send(client, 'json', { from: names.get(speaker), speaks: true })
    media.broadcast(client.server, 'json', { here: names.size }, { local: true })
  })
  media.on('disconnect', client => {
    names.delete(client)
    if (client === speaker) speaker = undefined
    media.broadcast(client.server, 'json', { here: names.size }, { local: true })
  })

  media.on('json', ({ payload }, client) => {
    const { name } = Object(payload)
    if (name === undefined) return
    const before = names.get(client)
    const problem = names.rename(client, name)
    if (problem !== undefined) {
      media.alert(client, problem, { level: 'error', category: 'name' })
      return
    }
    const after = names.get(client)
    media.send(client, 'json', { you: after })
    if (after === before) return
    media.broadcast(client.server, 'json', { before, after }, { except: client })
    if (client === speaker) share(client, { speaks: true })
  })
  media.on('text', ({ payload }, client) => share(client, { text: payload }))
  media.on('upload', ({ payload }, client) => share(client, { file: payload }))
  media.on('file', shareSaved)
  media.on('image', (image, client) => {
    // An image of a camera is not stored.
    if (image.url === undefined)
      media.broadcast(client.server, 'image', image.payload, { metadata: image.metadata, except: client })
    else shareSaved(image, client)
  })
  media.on('audio', ({ payload, metadata }, client) => {
    const now = Date.now()
    if (speaker !== client) {
      if (now - spokeAt < PAUSE) return refuseSound(client, now)
      speaker = client
      share(client, { speaks: true })
    }
    spokeAt = now
    media.broadcast(client.server, 'audio', payload, { metadata, except: client })
  })
  media.on('binary', (_, client) => {
    media.alert(client, 'this room accepts text, images, files and sound', { level: 'error', category: 'kind' })
  })

  /** A file in one message, as the browser client of NanoLLM sends it, has no name. */
  function shareSaved({ kind, url, size, metadata }: Media, client: Client): void {
    if (url !== undefined) share(client, { file: { kind, url, size, name: `unnamed.${metadata}` } })
    else media.alert(client, 'a file needs an extension to be shared', { level: 'error', category: 'upload' })
  }

  /** Mixed sound of two speakers would be noise. */
  function refuseSound(client: Client, now: number): void {
    const before = refusedAt.get(client)
    refusedAt.set(client, now)
    // The client has the alert, and has not stopped yet.
    if (before !== undefined && now - before < PAUSE) return
    media.alert(client, `${names.get(speaker!) ?? 'another client'} is speaking; wait a moment`, { category: 'voice' })
  }
}
