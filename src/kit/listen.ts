import type { AddressInfo, ListenOptions, Server } from 'node:net'
import { messageOf } from '../contract/errors.ts'
import { formatEndpoint, withoutBrackets } from './endpoint.ts'

/** The options that name a port and its address, such as `--health-port`, for errors. */
export interface PortOptions {
  readonly port: string
  readonly host: string
}

/**
 * Listens on a TCP port, and returns the bound address.
 *
 * @param at - an IPv6 address may have brackets.
 * @param options - names of the options that the operator can change.
 * @throws (rejects) Error with the `code` of listen(2): the port is taken, needs rights, or the address is not of this machine.
 * @example
 * const { port } = await listen(server, { port: 9001, host: '127.0.0.1' }, { port: '--x-port', host: '--x-host' })
 */
export async function listen(
  server: Server,
  at: ListenOptions & { readonly port: number; readonly host: string },
  options: PortOptions,
): Promise<AddressInfo> {
  const host = withoutBrackets(at.host)
  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException) => {
      const message = `cannot listen on ${formatEndpoint({ host, port: at.port })}: ${problemOf(cause, options)}`
      reject(Object.assign(new Error(message, { cause }), { code: cause.code }))
    }
    server.once('error', refuse)
    server.listen({ ...at, host }, () => {
      server.off('error', refuse)
      resolve()
    })
  })
  return server.address() as AddressInfo
}

function problemOf(error: NodeJS.ErrnoException, { port, host }: PortOptions): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `the port is taken; choose another with ${port}`
    case 'EACCES':
      return `no permission for this port; choose one from 1024 on with ${port}`
    case 'EADDRNOTAVAIL':
      return `this machine does not have the address; choose another with ${host}`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the name has no address; choose another with ${host}`
    default:
      return messageOf(error)
  }
}
