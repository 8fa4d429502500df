export { DROP } from './drop.ts'
export { FwsError } from './errors.ts'
export { createServer, type RunningServer, type ServerOptions } from './server.ts'
export type * from './types.ts'
