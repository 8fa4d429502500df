import { type TestServer, testServer } from '../../src/testing/index.ts'
import type { Test } from './cli.ts'

/** Starts a `testServer`, which is stopped after the test. */
export async function startTestServer(t: Test, ...given: Parameters<typeof testServer>): Promise<TestServer> {
  const server = await testServer(...given)
  t.after(() => server.stop())
  return server
}
