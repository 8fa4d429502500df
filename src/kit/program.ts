import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { basename, delimiter, resolve } from 'node:path'
import process, { kill, env as ownEnvironment } from 'node:process'
import type { Readable, Writable } from 'node:stream'
import { messageOf } from '../contract/errors.ts'
import { Lines, onLines } from './lines.ts'
import { optionError } from './option-error.ts'
import type { RateLimitedLog } from './rate-limited-log.ts'
import { visible } from './visible.ts'

/** Bytes of a line of standard error; longer lines are not logged. */
const MAX_LOG_LINE = 8192
/** Milliseconds between signals that end a program. */
const KILL_AFTER = 2000
/** Milliseconds that processes which a program leaves behind may keep its output open. */
const CLOSE_AFTER = 1000
/** The server's own variables, which may be secrets. */
const OWN_VARIABLE = /^FWS_/i

/**
 * Splits a command line into words, without a shell: spaces separate words; quotes (`'` or `"`) keep spaces; a backslash keeps the next
 * character, within `"` only `"` and `\`. Nothing is expanded.
 *
 * @throws Error `ERR_OPTION`: no word, a quote that is not closed, a backslash at the end, or a NUL character. The message has no word
 * of the line: it may be a secret.
 * @example
 * splitWords(`./shout.py --prefix 'a b'`) // ['./shout.py', '--prefix', 'a b']
 */
export function splitWords(line: string): readonly string[] {
  const words: string[] = []
  const refuse = (problem: string): never => {
    throw optionError(`${problem} in word ${words.length + 1} of the command line`)
  }
  let word: string | undefined
  let quote = ''
  for (let i = 0; i < line.length; i++) {
    const character = line[i]!
    if (character === '\0') refuse('a NUL character')
    if (character === quote) quote = ''
    else if (character === '\\' && (quote === '' || (quote === '"' && /["\\]/.test(line[i + 1] ?? '')))) {
      if (++i === line.length) refuse('a backslash at the end')
      word = (word ?? '') + line[i]
    } else if (quote !== '') word += character
    else if (character === '"' || character === "'") {
      quote = character
      word ??= ''
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? '') + character
  }
  if (quote !== '') refuse(`a quote (${quote}) that is not closed`)
  if (word !== undefined) words.push(word)
  if (/^\w+=/.test(words[0] ?? ''))
    throw optionError('a command line begins with a program; for a variable write env NAME=value ./program')
  if (words.length === 0 || words[0] === '') throw optionError('a command line needs a program, received none')
  return words
}

export interface ProgramOptions {
  /** The program and its arguments, see `splitWords`. A program without a slash is looked up in PATH. */
  readonly words: readonly string[]
  /** Working directory, and folder of a relative program. */
  readonly base: string
  /** Gets the lines of standard error; one log for all processes of a filter. */
  readonly log: RateLimitedLog
  /** Names of the server's variables that it gets. Default: all but those that begin with `FWS_`, which may be secrets. */
  readonly inherits?: readonly string[]
  /** Further variables. */
  readonly env?: Readonly<Record<string, string>>
}

/**
 * A process of a program: without a shell, in its own process group, with pipes.
 *
 * Errors of its pipes are ignored: `ended` settles then.
 *
 * @example
 * const program = await Program.start({ words: splitWords('./shout.py'), base: '/srv/app', log })
 * program.stdin.write('hello\n')
 * await program.stop(5000)
 */
export class Program {
  readonly stdin: Writable
  readonly stdout: Readable
  /** Settles when it has exited and its output has been read, with its end: `exited with code 1`, `was ended by SIGKILL`. */
  readonly ended: Promise<string>
  readonly #pid: number
  #hasEnded = false

  /** @throws (rejects) Error `ERR_OPTION`: it cannot be started; the message names the program, but no argument. */
  static async start({ words, base, log, inherits, env = {} }: ProgramOptions): Promise<Program> {
    const [asked = '', ...args] = words
    const file = asked.includes('/') ? resolve(base, asked) : asked
    const passes = (name: string) => inherits?.includes(name) ?? !OWN_VARIABLE.test(name)
    const inherited = Object.entries(ownEnvironment).filter(([name]) => passes(name))
    try {
      const child = spawn(file, args, {
        cwd: base,
        env: { ...Object.fromEntries(inherited), ...env },
        // A separate group: signals of the terminal do not reach it, and its children can be ended with it.
        detached: true,
        stdio: 'pipe',
      })
      await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject))
      return new Program(child, basename(asked), log)
    } catch (error) {
      throw optionError(`cannot start ${asked}: ${problemOf(error, file, base)}`, error)
    }
  }

  /** @throws Error `ERR_OPTION`: the program cannot be started, as far as the file system says. */
  static check({ words: [asked = ''], base }: Pick<ProgramOptions, 'words' | 'base'>): void {
    const folders = asked.includes('/') ? [base] : (ownEnvironment.PATH ?? '').split(delimiter)
    const files = folders.map(folder => resolve(base, folder, asked))
    if (files.some(isExecutable) && isFolder(base)) return
    const file = asked.includes('/') ? files[0]! : asked
    const code = exists(file) ? 'EACCES' : 'ENOENT'
    throw optionError(`cannot start ${asked}: ${problemOf({ code }, file, base)}`)
  }

  private constructor(child: ChildProcess, name: string, log: RateLimitedLog) {
    const { stdin, stdout, stderr } = child
    this.#pid = child.pid!
    this.stdin = stdin!
    this.stdout = stdout!
    for (const stream of [stdin, stdout, stderr, child]) stream!.on('error', () => {})
    const add = (line: string) =>
      log.add('warn', { program: name, pid: this.#pid, line: visible(line) }, 'standard error of a program')
    onLines(stderr!, new Lines(MAX_LOG_LINE, () => add(`(a line of more than ${MAX_LOG_LINE} bytes)`)), add)
    this.ended = new Promise(resolve => {
      let closeTimer: NodeJS.Timeout | undefined
      child.once('exit', () => {
        const close = () => {
          this.kill()
          for (const stream of [stdout, stderr]) stream!.destroy()
        }
        // A slow reader still reads the output.
        const closeUnlessPaused = () => {
          if (stdout!.isPaused()) closeTimer = setTimeout(closeUnlessPaused, CLOSE_AFTER)
          else close()
        }
        closeTimer = setTimeout(closeUnlessPaused, CLOSE_AFTER)
      })
      child.once('close', (code, signal) => {
        clearTimeout(closeTimer)
        this.kill()
        this.#hasEnded = true
        resolve(signal === null ? `exited with code ${code}` : `was ended by ${signal}`)
      })
    })
  }

  get pid(): number {
    return this.#pid
  }

  /** Whether it has exited and its output has been read. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /**
   * Closes its standard input, sends signals to its process group: the first after `graceMs` milliseconds, each further one and then SIGKILL
   * 2 seconds later. Settles when it has ended. The caller MUST read its output until then.
   */
  async stop(graceMs: number, signals: readonly NodeJS.Signals[] = ['SIGTERM']): Promise<void> {
    this.stdin.end()
    const timers = [...signals, 'SIGKILL' as const].map((signal, i) =>
      setTimeout(() => this.#signal(signal), graceMs + i * KILL_AFTER),
    )
    await this.ended
    for (const timer of timers) clearTimeout(timer)
  }

  /** Kills its process group. */
  kill(): void {
    this.#signal('SIGKILL')
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#hasEnded) return
    try {
      kill(-this.#pid, signal)
    } catch {
      // The group is empty.
    }
  }
}

/** Of the process, as its exit is: Node reports more than ten listeners as a leak. */
const ends = new Set<() => void>()

function endAll(): void {
  for (const end of ends) end()
}

/**
 * Calls `end` when the process of the server exits, also without the stops of its filters, as at a second SIGINT. Returns a function that
 * takes it back.
 */
export function atExit(end: () => void): () => void {
  if (ends.size === 0) process.once('exit', endAll)
  // A set has each value once: each call needs another function.
  const entry = () => end()
  ends.add(entry)
  return () => {
    ends.delete(entry)
    if (ends.size === 0) process.off('exit', endAll)
  }
}

/** Why a program did not start, in words. */
function problemOf(error: unknown, file: string, base: string): string {
  const { code } = error as NodeJS.ErrnoException
  if (!isFolder(base)) return `the folder ${base} does not exist`
  if (code === 'ENOENT' && !file.includes('/')) return 'it is not in PATH; write ./ before a file of the folder'
  if (code === 'ENOENT' && !exists(file)) return `${file} does not exist`
  if (code === 'ENOENT') return `the interpreter in the first line of ${file} does not exist`
  if (code === 'EACCES' && isFolder(file)) return `${file} is a folder`
  if (code === 'EACCES') return `${file} is not executable; use chmod +x`
  return code ?? messageOf(error)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return !isFolder(file)
  } catch {
    return false
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

function exists(file: string): boolean {
  try {
    accessSync(file, constants.F_OK)
    return true
  } catch {
    return false
  }
}
