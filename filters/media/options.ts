import type { OptionSpecs } from 'filtered-websocket'

const TYPES = 'png jpg jpeg gif webp bmp tiff webm mp4 mp3 wav ogg pdf txt csv json md'

export const options = {
  'media-strict': {
    type: 'boolean',
    default: false,
    describe: 'close a client that sends what is no message (1007); else it is told so by an alert',
  },
  'media-max-json': {
    type: 'number',
    default: 1_048_576,
    min: 2,
    integer: true,
    describe: 'bytes of JSON in one message: all clients wait while it is read',
  },
  'media-uploads': {
    type: 'string',
    normalize: true,
    describe: 'folder in which files of clients are kept; without it none are',
  },
  'media-upload-url': { type: 'string', default: '/uploads', describe: 'path under which the files are served' },
  'media-upload-types': { type: 'array', default: TYPES.split(' '), describe: 'extensions of files that are taken' },
  'media-upload-size': { type: 'number', default: 104_857_600, min: 1, integer: true, describe: 'bytes of one file' },
  'media-upload-parallel': {
    type: 'number',
    default: 2,
    min: 1,
    integer: true,
    describe: 'uploads in chunks of one client at a time',
  },
  'media-upload-slots': {
    type: 'number',
    default: 64,
    min: 1,
    integer: true,
    describe: 'uploads in chunks of all clients at a time',
  },
  'media-upload-count': { type: 'number', default: 1000, min: 1, integer: true, describe: 'files in the folder' },
  'media-upload-quota': {
    type: 'number',
    default: 1_073_741_824,
    min: 1,
    integer: true,
    describe: 'bytes in the folder',
  },
} as const satisfies OptionSpecs
