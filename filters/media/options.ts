import type { OptionSpecs } from 'filtered-websocket'

const TYPES = 'png jpg jpeg gif webp bmp tiff webm mp4 mp3 wav ogg pdf txt csv json md'

export const options = {
  'media-strict': {
    type: 'boolean',
    default: false,
    describe: 'Close clients that send a malformed message (1007). Default: drop the message and send an alert',
  },
  'media-max-json': {
    type: 'number',
    default: 1_048_576,
    min: 2,
    integer: true,
    describe: 'Bytes of JSON in one message; parsing blocks all clients',
  },
  'media-uploads': {
    type: 'string',
    normalize: true,
    describe: 'Folder for files of clients, created if its parent exists. Default: uploads are off',
  },
  'media-upload-url': { type: 'string', default: '/uploads', describe: 'URL path under which the files are served' },
  'media-upload-types': { type: 'array', default: TYPES.split(' '), describe: 'Accepted file extensions' },
  'media-upload-size': { type: 'number', default: 104_857_600, min: 1, integer: true, describe: 'Bytes of one file' },
  'media-upload-parallel': {
    type: 'number',
    default: 2,
    min: 1,
    integer: true,
    describe: 'Uploads in chunks per client at a time',
  },
  'media-upload-slots': {
    type: 'number',
    default: 64,
    min: 1,
    integer: true,
    describe: 'Uploads in chunks of all clients at a time',
  },
  'media-upload-count': {
    type: 'number',
    default: 1000,
    min: 1,
    integer: true,
    describe: 'Files in the folder, with running uploads',
  },
  'media-upload-quota': {
    type: 'number',
    default: 1_073_741_824,
    min: 1,
    integer: true,
    describe: 'Bytes in the folder, with running uploads',
  },
} as const satisfies OptionSpecs
