// Runs in the audio thread of a browser. It is a separate file, because the Content-Security-Policy 'self' allows no other way.

declare const sampleRate: number
declare class AudioWorkletProcessor {
  readonly port: { postMessage(message: unknown, transfer: readonly ArrayBuffer[]): void }
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void

/** Samples of one message: 40 ms. */
const LENGTH = Math.round(sampleRate * 0.04)

/** Collects samples of the microphone into messages: mono, signed 16 bits. */
class Microphone extends AudioWorkletProcessor {
  #samples = new Int16Array(LENGTH)
  #filled = 0

  process([input]: readonly (readonly Float32Array[])[]): boolean {
    const [samples] = input ?? []
    for (const sample of samples ?? []) {
      this.#samples[this.#filled++] = Math.round(Math.max(-1, Math.min(1, sample)) * 32_767)
      if (this.#filled === LENGTH) this.#send()
    }
    return true
  }

  #send(): void {
    this.port.postMessage(this.#samples, [this.#samples.buffer])
    this.#samples = new Int16Array(LENGTH)
    this.#filled = 0
  }
}

registerProcessor('fws-microphone', Microphone)
