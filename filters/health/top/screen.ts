import type { Readable, Writable } from 'node:stream'
import {
  cursorHide,
  cursorShow,
  cursorTo,
  enterAlternativeScreen,
  eraseDown,
  eraseEndLine,
  exitAlternativeScreen,
} from 'ansi-escapes'

/** DECAWM: the terminal cuts lines that are too long. */
const [WRAP_OFF, WRAP_ON] = ['\x1b[?7l', '\x1b[?7h']
/** Ctrl-C is a key: a terminal in raw mode sends no SIGINT. */
const QUIT = ['q', 'Q', '\x03']

type Keys = Readable & { readonly isTTY?: boolean; setRawMode?(isRaw: boolean): void }
type Terminal = Writable & { readonly rows?: number }

/** All of a terminal, until it is closed. */
export class Screen {
  readonly #stdout: Terminal
  readonly #keys: Keys | undefined
  #lines: readonly string[] = []
  readonly #redraw = () => this.draw(this.#lines)
  readonly #pressed: (keys: Buffer | string) => void

  /** @param quit - called for `q` and Ctrl-C, and when the terminal has gone. */
  constructor(stdout: Terminal, stdin: Keys | undefined, quit: () => void) {
    this.#stdout = stdout
    this.#keys = stdin?.isTTY ? stdin : undefined
    this.#pressed = keys => {
      if (QUIT.some(key => keys.includes(key))) quit()
    }
    stdout.on('resize', this.#redraw).once('error', quit)
    stdout.write(enterAlternativeScreen + cursorHide + WRAP_OFF)
    this.#keys?.setRawMode?.(true)
    this.#keys?.on('data', this.#pressed).once('end', quit)
  }

  /** A terminal that does not read, as after Ctrl-S, misses views; they do not wait in memory. */
  draw(lines: readonly string[]): void {
    this.#lines = lines
    if (this.#stdout.writableLength > 0) return
    const shown = lines.slice(0, this.#stdout.rows).map(line => line + eraseEndLine)
    this.#stdout.write(cursorTo(0, 0) + shown.join('\n') + eraseDown)
  }

  /** Restores the terminal. */
  close(): void {
    this.#stdout.off('resize', this.#redraw)
    this.#keys?.off('data', this.#pressed).pause()
    this.#keys?.setRawMode?.(false)
    this.#stdout.write(WRAP_ON + cursorShow + exitAlternativeScreen)
  }
}
