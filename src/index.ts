export { DROP } from './contract/drop.ts'
export { FwsError } from './contract/errors.ts'
export type * from './contract/types.ts'
export { createServer, type RunningServer, type ServerOptions } from './lifecycle/server.ts'
