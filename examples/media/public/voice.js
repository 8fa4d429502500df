import { levelOf } from '/fws/media.js'
import { showAlert } from './notices.js'
import { Wave } from './wave.js'

/** Milliseconds without sound after which the speaker is hidden. */
const SILENCE = 1000

/** Talk, listen, and the current speaker. */
export class Voice {
  #media
  #strip = document.getElementById('voice')
  #speaker = document.getElementById('speaker')
  #talk = document.getElementById('microphone')
  #listen = document.getElementById('listen')
  #wave = new Wave(document.getElementById('wave'))
  /** Stops the microphone, also before the browser has opened it. */
  #stop
  #player
  #timer
  /** Of the speaker; `undefined`: this page. */
  #name

  constructor(media) {
    this.#media = media
    this.#talk.addEventListener('click', () => (this.#stop ? this.stopTalking() : this.#startTalking()))
    this.#listen.addEventListener('click', () => this.#toggleListening())
    media.on('audio', ({ payload }) => this.#showLevel(payload))
    media.on('close', () => this.stopTalking())
  }

  /** @param name - `undefined`: this page. */
  speaks(name) {
    this.#name = name
    this.#showSpeaker()
  }

  #showSpeaker() {
    this.#speaker.textContent =
      this.#name === undefined
        ? 'you are speaking; others hear it after they press Listen'
        : `${this.#name} is speaking${this.#player ? '' : '; press Listen to hear it'}`
  }

  async #startTalking() {
    if (this.#media.state !== 'open') return showAlert('offline: talk when the page is connected again', 'error')
    const stop = new AbortController()
    this.#stop = stop
    this.#pressed(this.#talk, true)
    const { signal } = stop
    try {
      const { closed } = await this.#media.microphone({ signal, onSamples: samples => this.#showLevel(samples) })
      await closed
      if (!signal.aborted) this.stopTalking()
    } catch (error) {
      if (signal.aborted) return
      this.stopTalking()
      showAlert(error.name === 'NotAllowedError' ? 'the microphone is not allowed' : error.message, 'error')
    }
  }

  stopTalking() {
    this.#stop?.abort()
    this.#stop = undefined
    this.#pressed(this.#talk, false)
  }

  /** Browsers play sound only after a click. */
  #toggleListening() {
    if (this.#player === undefined) {
      this.#player = this.#media.player()
    } else {
      this.#player.stop()
      this.#player = undefined
    }
    this.#pressed(this.#listen, this.#player !== undefined)
    this.#showSpeaker()
  }

  #showLevel(samples) {
    this.#strip.hidden = false
    this.#wave.add(levelOf(samples))
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#strip.hidden = true
      this.#wave.clear()
    }, SILENCE)
  }

  #pressed(button, isPressed) {
    button.ariaPressed = String(isPressed)
  }
}
