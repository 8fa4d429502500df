// 1,000 clients, one sender, everybody else receives: deliveries a second, ours beside a plain ws loop in one run.
import { load, median, withServer } from './processes.ts'

const ROUNDS = Number(process.env.ROUNDS ?? 3)
const SIZE = 64
const CLIENTS = 1000

console.log(
  `fan-out: ${CLIENTS} clients, ${SIZE} B, sender excluded; deliveries a second, median of ${ROUNDS} alternating rounds`,
)
for (const inflight of [1, 16, 64]) {
  const results: Record<string, number[]> = { fws: [], ws: [] }
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of ['fws', 'ws']) {
      const { deliveries } = await withServer(name, 'broadcast', port =>
        load<{ deliveries: number }>(port, { clients: CLIENTS, size: SIZE, inflight, seconds: 3 }),
      )
      results[name]!.push(deliveries)
    }
  }
  const [fws, ws] = [median(results.fws!), median(results.ws!)]
  console.log(
    `${String(inflight).padStart(3)} in flight: fws ${Math.round(fws).toLocaleString('en').padStart(11)}   ws ${Math.round(ws).toLocaleString('en').padStart(9)}   ratio ${(fws / ws).toFixed(2)}`,
  )
}
