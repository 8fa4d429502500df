// Preloaded into a server whose memory is measured: on SIGUSR2 it collects garbage and prints its memory to standard error.
import { writeSync } from 'node:fs'

const collect = () => (globalThis.Bun ? Bun.gc(true) : globalThis.gc())

process.on('SIGUSR2', () => {
  collect()
  // A second collection frees what finalizers release.
  setTimeout(() => {
    collect()
    writeSync(2, `\nmemory ${JSON.stringify(process.memoryUsage())}\n`)
  }, 500)
})
