/** The largest number of an upload: as a decimal, it fits into the metadata of a chunk. */
export const MAX_UPLOAD_ID = 99_999_999

/** Why an upload is refused. `lost`: the connection, a message or the upload was lost, it stalled, or the disk failed. */
export type UploadErrorCode =
  | 'type'
  | 'name'
  | 'size'
  | 'count'
  | 'quota'
  | 'busy'
  | 'content'
  | 'off'
  | 'lost'
  | 'format'

/** A file that the server has saved, under a name that the server chose. */
export interface Uploaded {
  readonly name: string
  /** Path on the server, such as `/uploads/…`. */
  readonly url: string
  /** Bytes. */
  readonly size: number
}

/** JSON of a server in a message of type 6. Its first property has the number of the upload; `null`: not known. */
export type UploadReply =
  /** The client may send `window` bytes more than the server has acknowledged. */
  | { readonly ready: number; readonly window: number }
  /** Bytes on the disk. */
  | { readonly progress: number; readonly received: number }
  | ({ readonly done: number } & Uploaded)
  | { readonly refused: number | null; readonly reason: string; readonly code: UploadErrorCode }
