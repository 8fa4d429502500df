import { get } from 'node:http'
import type { Launched } from './cli.ts'

/** The metrics of a server with filter health, by name with labels. */
export async function metricsOf(server: Launched): Promise<ReadonlyMap<string, number>> {
  const { url } = server.logged().find(({ msg }) => msg === 'health answers') ?? {}
  const lines = (await body(`${url}/metrics`)).split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map(line => {
      const space = line.lastIndexOf(' ')
      return [line.slice(0, space), Number(line.slice(space + 1))]
    }),
  )
}

/** The body of a GET, without keep-alive. */
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
