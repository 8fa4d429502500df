// Loaded when it is needed: see load-files.ts.
export { blobs } from './blobs.ts'
export { getFile } from './get-file.ts'
export { sendFile } from './send-file.ts'
export { answerFile } from './shared.ts'
