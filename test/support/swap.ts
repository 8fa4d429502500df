import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

/** Renames in a loop until the worker is terminated. */
const SWAP = `
const { renameSync, symlinkSync } = require('node:fs')
const { parentPort, workerData: { path, target } } = require('node:worker_threads')
symlinkSync(target, path + '.link')
parentPort.postMessage('ready')
for (;;) {
  renameSync(path, path + '.real')
  renameSync(path + '.link', path)
  renameSync(path, path + '.link')
  renameSync(path + '.real', path)
}`

/** Runs a function while a path alternates between a file or folder and a symbolic link to `target`. */
export async function whileSwapping(
  t: { after(fn: () => Promise<unknown>): void },
  path: string,
  target: string,
  run: () => Promise<void>,
): Promise<void> {
  const worker = new Worker(SWAP, { eval: true, workerData: { path, target } })
  t.after(() => worker.terminate())
  await once(worker, 'message')
  await run()
  await worker.terminate()
}
