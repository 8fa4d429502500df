import { browser, capture, type Port } from './platform.ts'
import { createStoppable, type Stoppable } from './stoppable.ts'

export interface MicrophoneOptions {
  /** Stops the microphone. */
  readonly signal?: AbortSignal
  /** Hz. Default: the rate of the device, often 48,000. Some browsers cannot convert. */
  readonly rate?: number
  /** Called with the samples that are sent, for example for a level meter (`levelOf`). */
  readonly onSamples?: (samples: Int16Array) => void
}

/** An open microphone. It stops when the device is disconnected. */
export interface Microphone extends Stoppable {
  /** Hz. */
  readonly rate: number
}

/** Sends mono sound with signed 16-bit samples, 40 ms per message. Without a connection it is dropped. */
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
  const { closed, stop } = createStoppable(() => {
    // Drops samples that the audio thread has posted already.
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
