import type { AudioFormat } from '../../protocols/nanollm/audio.ts'
import { type AudioContext, browser, type Gain } from './platform.ts'
import { createStoppable, type Stoppable } from './stoppable.ts'

/** Seconds by which sound after a silence is delayed, so that the next message arrives in time. */
const LEAD = 0.12
/** Seconds of the fade after and before a silence, which avoids clicks. */
const FADE = 0.005

/** 16-bit samples, channels interleaved. */
export interface Samples extends AudioFormat {
  readonly payload: Int16Array<ArrayBuffer>
}

export interface PlayerOptions {
  /** Stops the player. */
  readonly signal?: AbortSignal
  /** Seconds of sound that may wait; more is dropped. Default: 30. */
  readonly maxQueued?: number
}

/** Plays sound without gaps. */
export interface Player extends Stoppable {
  /** Seconds of sound that wait. */
  readonly queued: number
  /** `false`: the browser needs a user gesture; call `resume` in it. Until then sound is dropped. */
  readonly isPlaying: boolean
  resume(): Promise<void>
  /** Appends samples; `false`: they are dropped. */
  play(samples: Samples): boolean
}

/** A player at the rate of the device; samples may have other rates. */
export function openPlayer({ signal, maxQueued = 30 }: PlayerOptions): Player {
  const context = new browser.AudioContext({ latencyHint: 'interactive' })
  const gain = context.createGain()
  gain.connect(context.destination)
  /** End of the scheduled sound, in seconds of the context's clock. */
  let end = 0
  const player: Player = {
    get queued() {
      return Math.max(0, end - context.currentTime)
    },
    get isPlaying() {
      return context.state === 'running'
    },
    ...createStoppable(() => context.close(), signal),
    resume: () => context.resume(),
    play(samples) {
      if (!player.isPlaying || player.queued > maxQueued || samples.payload.length === 0) return false
      try {
        end = schedule(context, gain, samples, end)
        return true
      } catch {
        // The browser does not support the rate or the number of channels.
        return false
      }
    },
  }
  // Rejects without a user gesture; the application calls `resume` later.
  context.resume().catch(() => {})
  return player
}

/** Schedules samples at the end of the samples before, or after a short lead. Returns their end. */
function schedule(context: AudioContext, node: Gain, samples: Samples, end: number): number {
  const { gain } = node
  const source = context.createBufferSource()
  source.buffer = bufferOf(context, samples)
  const isNext = end - FADE > context.currentTime
  const start = isNext ? end : context.currentTime + LEAD
  // Without a silence, the samples before do not fade out.
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
