// File transfers. Browsers load them on demand, as messaging-files.js.
export { blobs } from './blobs.ts'
export { fileFrame, readFileFrame } from './file-frames.ts'
export { getFile } from './get-file.ts'
export { sendFile } from './send-file.ts'
export { respondToFile } from './shared-files.ts'
