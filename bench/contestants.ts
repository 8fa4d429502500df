// The measured servers, and their commands. All do the same work: text messages, decoded, without deflate by default.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Dialect } from './template.ts'

/** The audience of a message: all others, all, the others in the room of the sender, or the sender. */
export type Kind = 'broadcast' | 'everyone' | 'rooms' | 'echo'

export interface Setup {
  readonly kind: Kind
  readonly deflate?: boolean
  /** Pass-through filters before the filter; `ours` only. */
  readonly passing?: number
  /** Collects garbage on SIGUSR2. */
  readonly collects?: boolean
}

export interface Contestant {
  readonly dialect: Dialect
  readonly version: () => string
  /** A process that prints its `ws://` URL to standard error. */
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
    command: setup => [...node(setup), here('servers/ws.mjs'), ...kindOf(setup)],
  },
  'socket.io': {
    dialect: 'socket.io',
    version: () => versionOf('socket.io'),
    command: setup => [...node(setup), here('servers/socketio.mjs'), ...kindOf(setup)],
  },
  bun: {
    dialect: 'plain',
    version: () => versionOf('bun'),
    command: setup => [
      here('node_modules/.bin/bun'),
      ...(setup.collects ? ['--preload', collector] : []),
      here('servers/bun.mjs'),
      ...kindOf(setup),
    ],
  },
}

function node({ collects }: Setup): string[] {
  return collects ? [process.execPath, '--expose-gc', '--import', collector] : [process.execPath]
}

function kindOf({ kind, deflate }: Setup): string[] {
  return deflate ? [kind, 'deflate'] : [kind]
}

/** A built-in filter if there is one. */
function ourFilter(kind: Kind): string {
  return kind === 'broadcast' || kind === 'echo' ? kind : here('filters', `${kind}.ts`)
}
