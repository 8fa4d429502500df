import { get } from 'node:http'
import type { Launched } from './cli.ts'

/** The health filter's numbers of a launched server, by name and labels as Prometheus reads them. */
export async function metricsOf(server: Launched): Promise<ReadonlyMap<string, number>> {
  const { url } = server.logged().find(({ msg }) => msg === 'health answers') ?? {}
  const lines = (await body(`${url}/metrics`)).split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map(line => {
      const blank = line.lastIndexOf(' ')
      return [line.slice(0, blank), Number(line.slice(blank + 1))]
    }),
  )
}

/** What a GET of the URL is answered with; its connection is not kept. */
export function body(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asking = get(url, { agent: false }, res => {
      let text = ''
      res.setEncoding('utf8').on('data', chunk => {
        text += chunk
      })
      res.on('end', () => resolve(text))
    })
    asking.on('error', reject)
  })
}
