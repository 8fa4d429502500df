import { type Env, installDebian, isExecutable, onPath } from './debian.ts'

/** Why tests of pages are skipped, and what to do. */
export const NO_CHROMIUM =
  'no chromium, chromium-browser or google-chrome on the PATH: install one, or set CHROMIUM_PATH to the program'

/** The browser that tests start: `CHROMIUM_PATH`, else one on the PATH; undefined: there is none. */
export function chromiumBinary(env: Env = process.env): string | undefined {
  if (env.CHROMIUM_PATH) return isExecutable(env.CHROMIUM_PATH) ? env.CHROMIUM_PATH : undefined
  return onPath('chromium', env) ?? onPath('chromium-browser', env) ?? onPath('google-chrome', env)
}

/** Says what is missing, and what to do. */
export function withoutChromium({ CHROMIUM_PATH }: Env = process.env): string {
  return CHROMIUM_PATH ? `CHROMIUM_PATH is no program that can be started, received "${CHROMIUM_PATH}"` : NO_CHROMIUM
}

/** Sees to it, before the tests begin, that there is a Chromium; what it did or what to do goes to standard error. */
export function provideChromium(env: Env = process.env): void {
  if (chromiumBinary(env) === undefined && !env.CHROMIUM_PATH) installDebian('chromium', 'chromium', env)
  if (chromiumBinary(env) === undefined) console.error(withoutChromium(env))
}
