import type { IncomingMessage, ServerResponse } from 'node:http'
import process from 'node:process'

/** Serves the resources of the process as JSON under /resources, after a garbage collection with --expose-gc. */
export const request = ({ url }: IncomingMessage, res: ServerResponse) => {
  if (url !== '/resources') return
  globalThis.gc?.()
  const handles: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) handles[kind] = (handles[kind] ?? 0) + 1
  return res.end(JSON.stringify({ handles, ...process.memoryUsage() }))
}
