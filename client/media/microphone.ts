import { type Ending, endingOf } from './ending.ts'
import { browser, capture, type Port } from './platform.ts'

export interface MicrophoneOptions {
  /** Ends it. */
  readonly signal?: AbortSignal
  /** Hz; default: that of the device, as a rule 48000. Not every browser can convert. */
  readonly rate?: number
  /** Gets what is sent too, such as for a level meter (`levelOf`). */
  readonly onSamples?: (samples: Int16Array) => void
}

/** A microphone that is open; it ends by itself when the device is gone. */
export interface Microphone extends Ending {
  /** Hz. */
  readonly rate: number
}

/** Mono, signed 16 bits, 40 ms a message. Where there is no connection, what is said is lost. */
export async function openMicrophone(
  send: (samples: Int16Array<ArrayBuffer>, rate: number) => void,
  { signal, rate, onSamples }: MicrophoneOptions,
): Promise<Microphone> {
  signal?.throwIfAborted()
  const stream = await capture('microphone', { audio: { channelCount: 1, echoCancellation: true } })
  const context = new browser.AudioContext({
    latencyHint: 'interactive',
    ...(rate !== undefined && { sampleRate: rate }),
  })
  let port: Port | undefined
  const { closed, stop } = endingOf(() => {
    // What is under way from its thread must not be heard any more.
    if (port !== undefined) port.onmessage = null
    for (const track of stream.getTracks()) track.stop()
    return context.close()
  }, signal)
  try {
    await context.audioWorklet.addModule(new URL('./microphone-worklet.js', import.meta.url))
    signal?.throwIfAborted()
    const node = new browser.AudioWorkletNode(context, 'fws-microphone', {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: 'explicit',
    })
    port = node.port
    port.onmessage = ({ data }) => {
      send(data, context.sampleRate)
      onSamples?.(data)
    }
    context.createMediaStreamSource(stream).connect(node)
    await context.resume()
    signal?.throwIfAborted()
  } catch (error) {
    stop()
    throw error
  }
  for (const track of stream.getTracks()) track.addEventListener('ended', stop)
  return { rate: context.sampleRate, closed, stop }
}
