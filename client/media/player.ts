import type { AudioFormat } from '../../protocols/nanollm/audio.ts'
import { type Ending, endingOf } from './ending.ts'
import { type AudioContext, browser, type Gain } from './platform.ts'

/** Seconds that sound waits after a silence, so that the next message is there before its turn. */
const LEAD = 0.12
/** Seconds in which sound comes up after a silence, and goes before one: a sudden edge is a click. */
const FADE = 0.005

/** Sound: 16-bit samples, channels interleaved. */
export interface Samples extends AudioFormat {
  readonly payload: Int16Array<ArrayBuffer>
}

export interface PlayerOptions {
  /** Ends it. */
  readonly signal?: AbortSignal
  /** Seconds that may wait to be played; what comes beyond is left out. Default 30. */
  readonly maxQueued?: number
}

/** Plays sound, piece after piece. */
export interface Player extends Ending {
  /** Seconds that wait to be played. */
  readonly queued: number
  /** `false`: the browser waits for somebody to touch the page; call `resume` then. What comes until then is left out. */
  readonly isPlaying: boolean
  resume(): Promise<void>
  /** Appends a piece; `false`: left out. */
  play(samples: Samples): boolean
}

/** A player of its own clock, at the rate of the device; pieces may have rates of their own. */
export function openPlayer({ signal, maxQueued = 30 }: PlayerOptions): Player {
  const context = new browser.AudioContext({ latencyHint: 'interactive' })
  const gain = context.createGain()
  gain.connect(context.destination)
  /** When what has been scheduled ends, in seconds of the context's clock. */
  let end = 0
  const player: Player = {
    get queued() {
      return Math.max(0, end - context.currentTime)
    },
    get isPlaying() {
      return context.state === 'running'
    },
    ...endingOf(() => context.close(), signal),
    resume: () => context.resume(),
    play(samples) {
      if (!player.isPlaying || player.queued > maxQueued || samples.payload.length === 0) return false
      try {
        end = schedule(context, gain, samples, end)
        return true
      } catch {
        // A rate or a number of channels that this browser does not have.
        return false
      }
    },
  }
  // It stays silent until it may play; then whoever opened it calls `resume` again.
  context.resume().catch(() => {})
  return player
}

/** Lets a piece begin where the one before ends, or after a short lead where that has ended. Answers its end. */
function schedule(context: AudioContext, node: Gain, samples: Samples, end: number): number {
  const { gain } = node
  const source = context.createBufferSource()
  source.buffer = bufferOf(context, samples)
  const isNext = end - FADE > context.currentTime
  const start = isNext ? end : context.currentTime + LEAD
  // The one before does not have to go down: it goes on.
  if (isNext) gain.cancelScheduledValues(end - FADE)
  else {
    gain.setValueAtTime(0, start)
    gain.linearRampToValueAtTime(1, start + FADE)
  }
  const stop = start + source.buffer.duration
  gain.setValueAtTime(1, stop - FADE)
  gain.linearRampToValueAtTime(0, stop)
  source.connect(node)
  source.start(start)
  return stop
}

function bufferOf(context: AudioContext, { payload, rate, channels }: Samples) {
  const buffer = context.createBuffer(channels, payload.length / channels, rate)
  for (let channel = 0; channel < channels; channel++) {
    const data = buffer.getChannelData(channel)
    for (let index = 0; index < data.length; index++) data[index] = payload[index * channels + channel]! / 32_768
  }
  return buffer
}
