// The measured servers, and their commands. All do the same work: text messages, decoded, without deflate by default.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Dialect } from './template.ts'

/** The audience of a message: all others, all, the others in the room of the sender, or the sender. */
export type Kind = 'broadcast' | 'everyone' | 'rooms' | 'echo'

export interface Setup {
  readonly kind: Kind
  readonly deflate?: boolean
  /** Pass-through filters before the filter, of a checkout only. */
  readonly passing?: number
  /** On SIGUSR2 collects garbage and prints its memory. */
  readonly collects?: boolean
}

export interface Contestant {
  readonly dialect: Dialect
  /** Only in scenarios that name it. */
  readonly isOptional?: true
  readonly version: () => string
  /** A process that prints its `ws://` URL to standard error. */
  readonly command: (setup: Setup) => readonly string[]
}

const here = (...path: string[]) => join(import.meta.dirname, ...path)
const collector = here('servers/collect.mjs')
const require = createRequire(import.meta.url)
const versionOf = (name: string) => require(`${name}/package.json`).version as string

/** Empty outside of a repository. */
export function commitOf(root: string): string {
  return spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).stdout?.trim() ?? ''
}

/** @param before - path of another checkout of this project */
export function makeContestants(before?: string): Readonly<Record<string, Contestant>> {
  const ours = checkout(here('..'))
  const centrifuge = (...more: string[]): Contestant => ({
    ...ours,
    dialect: 'centrifuge',
    isOptional: true,
    command: setup => [...ours.command(setup).slice(0, -1), 'centrifuge', ...more, '--centrifuge-publish'],
  })
  return {
    ours,
    kept: { ...ours, command: setup => [...ours.command(setup), here('filters/keep.ts')] },
    centrifuge: centrifuge(),
    'centrifuge-kept': centrifuge(here('filters/keep.ts')),
    ...(before !== undefined && { before: checkout(before) }),
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
}

/**
 * The server of a checkout of this project, with the bench filters of this one.
 * @throws Error if it has no command
 */
export function checkout(root: string): Contestant {
  const program = programOf(root)
  let help: string | undefined
  /** An option with its value; empty if the server is older than the option. */
  const known = (option: string, ...value: string[]) => {
    help ??= spawnSync(process.execPath, [...program, '--help'], { encoding: 'utf8' }).stdout
    return help.includes(option) ? [option, ...value] : []
  }
  return {
    dialect: 'plain',
    version: () => [require(join(root, 'package.json')).version, commitOf(root)].join(' ').trim(),
    command: setup => [
      ...node(setup),
      ...program,
      ...['--port', '0'],
      ...known('--max-clients', '20000'),
      ...(setup.deflate ? known('--compress') : []),
      ...['-f', ...Array<string>(setup.passing ?? 0).fill(here('filters/pass.ts')), filterOf(setup.kind)],
    ],
  }
}

/** Arguments of Node for the built command of a checkout, or for its source. */
function programOf(root: string): readonly string[] {
  const [built, source] = [join(root, 'dist/bin/fws-server.js'), join(root, 'bin/fws-server.ts')]
  // An empty path, as of an unset variable, would be the working directory.
  if (root !== '' && existsSync(built)) return [built]
  if (root !== '' && existsSync(source)) return ['--import', import.meta.resolve('tsx'), source]
  throw new Error(`a checkout has dist/bin/fws-server.js or bin/fws-server.ts, received "${root}"`)
}

function node({ collects }: Setup): string[] {
  return collects ? [process.execPath, '--expose-gc', '--import', collector] : [process.execPath]
}

function kindOf({ kind, deflate }: Setup): string[] {
  return deflate ? [kind, 'deflate'] : [kind]
}

/** A built-in filter if there is one. */
function filterOf(kind: Kind): string {
  return kind === 'broadcast' || kind === 'echo' ? kind : here('filters', `${kind}.ts`)
}
