// Bounded facilities that filters share. Import as `filtered-websocket/kit`.

export { isPromise, withDeadline } from '../contract/deadline.ts'
export { acceptedBytes } from './accepted-bytes.ts'
export { answerInTime } from './answer-in-time.ts'
export { BoundedMap } from './bounded-map.ts'
export { type Claims, claimAt, claimString, claimStrings } from './claims.ts'
export { commandError } from './command-error.ts'
export { copyBytes } from './copy-bytes.ts'
export { type Encoder, encoderOf, type Outgoing } from './encoders.ts'
export { type Endpoint, formatEndpoint, parseEndpoint, withoutBrackets } from './endpoint.ts'
export { FileError, fileErrorOf } from './files/file-error.ts'
export { FileHashes } from './files/hashes.ts'
export {
  type IncomingFile,
  IncomingFiles,
  type IncomingFilesOptions,
  type IncomingPlan,
  partName,
} from './files/incoming.ts'
export { namesIn } from './files/path.ts'
export { FileStore, type FileStoreOptions, type FileWrite, type WriteOptions } from './files/store.ts'
export type { StoredFile } from './files/stored-file.ts'
export {
  FileUploads,
  type Upload,
  type UploadedPart,
  type UploadHooks,
  type UploadSender,
} from './files/uploads.ts'
export { createFraming, type Incoming } from './framings.ts'
export { Heartbeat, type Pinged } from './heartbeat.ts'
export { hostProblem, isHostAllowed, isHostHeader, isLoopback, originForm } from './host.ts'
export { isHostname, isPort } from './hostname.ts'
export { type IdempotencyOptions, IdempotencyStore } from './idempotency/idempotency-store.ts'
export { IdempotencyError, type Sender } from './idempotency/sender.ts'
export { inSlices } from './in-slices.ts'
export { isInside } from './is-inside.ts'
export { isSameSecret } from './is-same-secret.ts'
export { type JsonBounds, MAX_JSON_DEPTH, MAX_JSON_LENGTH, readJson, writeJson } from './json.ts'
export { type PayloadField, payloadField, payloadIn } from './json-payload.ts'
export { LengthFrames } from './length-frames.ts'
export { LimitError, Limiter, type LimiterOptions, OwnerLimiter } from './limiter.ts'
export { FRAMINGS, type Framing, type FramingName, Lines, onLines, readMessages } from './lines.ts'
export { linger } from './linger.ts'
export { listen, type PortOptions } from './listen.ts'
export { type Found, locate, type Mount } from './locate.ts'
export { newEpoch } from './new-epoch.ts'
export { NodeCalls, type NodeCallsOptions } from './node-calls.ts'
export { type NodeListener, NodeRegistry, type NodeRegistryOptions } from './node-registry.ts'
export { type OpenFile, type OpenInsideOptions, openInside } from './open-inside.ts'
export { optionError } from './option-error.ts'
export { type Pattern, readPattern, topicParts } from './pattern.ts'
export {
  certificatesIn,
  type Passphrase,
  type Pem,
  type PrivateKey,
  privateKeyIn,
  publicKeyIn,
  readPem,
} from './pem.ts'
export {
  CALL_TIMEOUT,
  CallFailed,
  type CallOptions,
  MAX_TIMEOUT,
  type PendingCall,
  PendingCalls,
  type PendingCallsOptions,
} from './pending-calls.ts'
export { PieceWriter } from './piece-writer.ts'
export { PositionFile, positionIn } from './position-file.ts'
export { atExit, Program, type ProgramOptions, splitWords } from './program.ts'
export { LogLimit, RateLimitedLog } from './rate-limited-log.ts'
export { RECORDING_VERSION, type RecordedEvent, readRecorded } from './recorded-event.ts'
export { mayHoldSecret, redactor } from './redact.ts'
export { readRegular, readRegularBytes } from './regular-file.ts'
export { closeUnreadBodies, hasBody, readBody } from './request-body.ts'
export { type Answer, RequestQueue } from './request-queue.ts'
export { answerWith, respond } from './respond.ts'
export { ResponseStream } from './response-stream.ts'
export { SANDBOX_CSP, type SendFileOptions, sendFile } from './send-file.ts'
export { SerialQueue, SerialQueues } from './serial-queue.ts'
export { tlsFailureOf } from './tls-failure.ts'
export { readAuthorities, readTlsFiles, type TlsFiles, type TlsPair } from './tls-files.ts'
export { traceFields } from './trace-fields.ts'
export { visible } from './visible.ts'
export { Watchdog } from './watchdog.ts'
