// Who is measured, and how each is started. Every one does the same work: text messages, decoded, deflate off unless asked.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Dialect } from './template.ts'

/** What a server does with a message: to all but the sender, to all, to the others in the sender's room, or back. */
export type Kind = 'broadcast' | 'everyone' | 'rooms' | 'echo'

export interface Setup {
  readonly kind: Kind
  readonly deflate?: boolean
  /** Pass-through filters in front; ours only. */
  readonly passing?: number
  /** Collects garbage on SIGUSR2. */
  readonly collects?: boolean
}

export interface Contestant {
  readonly dialect: Dialect
  readonly version: () => string
  /** A process that tells its `ws://` address on standard error. */
  readonly command: (setup: Setup) => readonly string[]
}

const here = (...path: string[]) => join(import.meta.dirname, ...path)
const ourCommand = here('../dist/bin/fws-server.js')
const collector = here('servers/collect.mjs')
const versionOf = (name: string) => createRequire(import.meta.url)(`${name}/package.json`).version as string

export const contestants: Readonly<Record<string, Contestant>> = {
  ours: {
    dialect: 'plain',
    version: () => createRequire(import.meta.url)('../package.json').version,
    command: setup => [
      ...node(setup),
      ourCommand,
      ...['--port', '0', '--max-clients', '20000'],
      ...(setup.deflate ? ['--compress'] : []),
      ...['-f', ...Array<string>(setup.passing ?? 0).fill(here('filters/pass.ts')), ourFilter(setup.kind)],
    ],
  },
  ws: {
    dialect: 'plain',
    version: () => versionOf('ws'),
    command: setup => [...node(setup), here('servers/ws.mjs'), ...theirs(setup)],
  },
  'socket.io': {
    dialect: 'socket.io',
    version: () => versionOf('socket.io'),
    command: setup => [...node(setup), here('servers/socketio.mjs'), ...theirs(setup)],
  },
  bun: {
    dialect: 'plain',
    version: () => versionOf('bun'),
    command: setup => [
      here('node_modules/.bin/bun'),
      ...(setup.collects ? ['--preload', collector] : []),
      here('servers/bun.mjs'),
      ...theirs(setup),
    ],
  },
}

/** Whether ours has the option by now. */
export function canCompress(): boolean {
  const { stdout } = spawnSync(process.execPath, [ourCommand, '--help'], { encoding: 'utf8' })
  return /--compress\b/.test(stdout)
}

function node({ collects }: Setup): string[] {
  return collects ? [process.execPath, '--expose-gc', '--import', collector] : [process.execPath]
}

function theirs({ kind, deflate }: Setup): string[] {
  return deflate ? [kind, 'deflate'] : [kind]
}

/** Built-ins where there are some. */
function ourFilter(kind: Kind): string {
  return kind === 'broadcast' || kind === 'echo' ? kind : here('filters', `${kind}.ts`)
}
