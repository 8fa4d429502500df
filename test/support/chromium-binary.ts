import { type Env, installDebian, isExecutable, onPath } from './debian.ts'

/** Reason to skip tests of pages, with what to do. */
export const NO_CHROMIUM =
  'no chromium, chromium-browser or google-chrome on the PATH: install one, or set CHROMIUM_PATH to the program'

/** The browser of the tests: `CHROMIUM_PATH`, or one on the PATH; `undefined` if there is none. */
export function chromiumBinary(env: Env = process.env): string | undefined {
  if (env.CHROMIUM_PATH) return isExecutable(env.CHROMIUM_PATH) ? env.CHROMIUM_PATH : undefined
  return onPath('chromium', env) ?? onPath('chromium-browser', env) ?? onPath('google-chrome', env)
}

/** The reason why there is no browser. */
export function noChromium({ CHROMIUM_PATH }: Env = process.env): string {
  return CHROMIUM_PATH ? `CHROMIUM_PATH is not an executable file, received "${CHROMIUM_PATH}"` : NO_CHROMIUM
}

/** Installs Chromium if it is missing, or prints what to do. */
export function installChromium(env: Env = process.env): void {
  if (chromiumBinary(env) === undefined && !env.CHROMIUM_PATH) installDebian('chromium', env)
  if (chromiumBinary(env) === undefined) console.error(noChromium(env))
}
