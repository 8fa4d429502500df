// 10,000 idle clients: resident memory a client above the empty server, ours beside ws.
import { load, memoryOf, withServer } from './processes.ts'

const CLIENTS = Number(process.env.CLIENTS ?? 10_000)

for (const name of ['fws', 'ws']) {
  await withServer(name, 'broadcast', async (port, server) => {
    const empty = await memoryOf(server)
    let full = 0
    await load(port, { clients: CLIENTS, mode: 'idle' }, async () => {
      full = await memoryOf(server)
    })
    console.log(
      `${name.padEnd(4)} empty ${mib(empty)}, ${CLIENTS} idle clients ${mib(full)}: ${((full - empty) / CLIENTS / 1024).toFixed(2)} KiB a client`,
    )
  })
}

function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}
