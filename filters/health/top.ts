import type { Readable, Writable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { styleText } from 'node:util'
import type { OptionSpecs, OptionValues } from 'filtered-websocket'
import { optionError, PieceWriter } from 'filtered-websocket/kit'
import type { options as portOptions } from '../health.ts'
import { jsonLine } from './json.ts'
import type { Sample } from './sample.ts'
import { linesOf, type Styles } from './top/lines.ts'
import { readable, readSample, topUrl } from './top/port.ts'
import { type Rates, ratesOf } from './top/rates.ts'
import { Screen } from './top/screen.ts'

export const describe = 'Show what a running server does'

export const usage = `fws-server top [URL] [--interval SECONDS] [--once]

Shows what a server with -f health does: clients, messages, calls and time of each filter, slow clients, storage. q ends it.
URL: the health port. Default: http://127.0.0.1:9001, or the options of filter health.`

export const options = {
  interval: { type: 'number', default: 1, min: 0.1, max: 3600, describe: 'Seconds between views' },
  once: { type: 'boolean', default: false, describe: 'Print the rates of one interval as JSON, and end' },
} as const satisfies OptionSpecs

interface Input {
  readonly options: OptionValues<typeof options> & OptionValues<typeof portOptions>
  readonly words: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly streams: {
    readonly stdin?: Readable | undefined
    readonly stdout: Writable & { readonly isTTY?: boolean }
    readonly stderr: Writable
    readonly signal?: AbortSignal | undefined
  }
}

/** Where rates go. */
interface View {
  show(rates: Rates): void
  /** @throws the error, if it ends the command. */
  fail(error: Error): void
  close?(): void
}

const PLAIN: Styles = { heading: text => text, alarm: text => text }
const style = (format: 'bold' | 'red') => (text: string) => styleText(format, text, { validateStream: false })
const COLORED: Styles = { heading: style('bold'), alarm: style('red') }

/** Returns the output with `--once`, else the exit code. */
export async function run({ options: { interval, once, ...port }, words, env, streams }: Input): Promise<string | 0> {
  if (words.length > 1) throw optionError(`top takes one URL, received ${words.length} words`)
  const url = topUrl(words[0], port)
  const ending = new AbortController()
  const signal = AbortSignal.any([ending.signal, ...(streams.signal === undefined ? [] : [streams.signal])])
  const quit = () => ending.abort()
  const isLive = streams.stdout.isTTY === true && env.TERM !== 'dumb'
  const styles = isLive && !env.NO_COLOR ? COLORED : PLAIN
  const render = (rates: Rates) => linesOf(url.origin, rates, styles)
  let json: string | undefined
  const first: View = {
    show: rates => {
      json = jsonLine(rates)
      quit()
    },
    fail: error => {
      throw error
    },
  }
  const view = once ? first : isLive ? screenOf(streams, url, render, quit) : pipeOf(streams, render, quit)
  try {
    let before: Sample | undefined
    for (;;) {
      try {
        const sample = await readSample(url, signal)
        readable(url, () => {
          const rates = before && ratesOf(before, sample)
          if (rates !== undefined) view.show(rates)
        })
        before = sample
      } catch (error) {
        signal.throwIfAborted()
        view.fail(error as Error)
      }
      await wait(interval * 1000, undefined, { signal })
    }
  } catch (error) {
    if (!signal.aborted) throw error
    return json ?? 0
  } finally {
    view.close?.()
  }
}

type Render = (rates: Rates) => readonly string[]

/** Shows a failure in place of the view, and waits for the server. */
function screenOf({ stdout, stdin }: Input['streams'], { origin }: URL, render: Render, quit: () => void): View {
  const screen = new Screen(stdout, stdin, quit)
  screen.draw([`fws-server ${origin}   waiting for it`])
  return {
    show: rates => screen.draw(render(rates)),
    fail: ({ message }) => screen.draw([message, '', 'waiting for it; q ends this']),
    close: () => screen.close(),
  }
}

/** A failure ends it before the first view; later there is one line for it. */
function pipeOf({ stdout, stderr }: Input['streams'], render: Render, quit: () => void): View {
  const writer = new PieceWriter(stdout)
  let failure: string | undefined
  let hasShown = false
  void writer.gone.then(quit)
  return {
    show: rates => {
      // A slow reader misses views.
      if (stdout.writableLength === 0) void writer.write(`${render(rates).join('\n')}\n\n`)
      hasShown = true
      failure = undefined
    },
    fail: error => {
      if (!hasShown) throw error
      if (error.message !== failure) stderr.write(`fws-server: ${error.message}\n`)
      failure = error.message
    },
    close: () => {
      if (writer.failure !== undefined) throw writer.failure
    },
  }
}
