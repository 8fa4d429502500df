import { type Ending, endingOf } from './ending.ts'
import { browser, capture } from './platform.ts'

export interface CameraOptions {
  /** Ends it. */
  readonly signal?: AbortSignal
  /** Pictures a second, at most; fewer where the connection is slow. Default 5. */
  readonly fps?: number
  /** Pixels; the height follows. Default 640. */
  readonly width?: number
  /** Of JPEG, 0 to 1. Default 0.7. */
  readonly quality?: number
  /** `user`: towards the person, as by default; `environment`: away. */
  readonly facing?: 'user' | 'environment'
}

/** A camera that is open; it ends by itself when the device is gone. */
export interface Camera extends Ending {
  /** For the `srcObject` of a `<video>`. */
  readonly stream: object
}

/** JPEG pictures, each when the one before has gone out (`isFree`), so that none is old when it arrives. */
export async function openCamera(
  send: (jpeg: ArrayBuffer) => void,
  isFree: () => boolean,
  { signal, fps = 5, width = 640, quality = 0.7, facing = 'user' }: CameraOptions,
): Promise<Camera> {
  signal?.throwIfAborted()
  const stream = await capture('camera', { video: { width: { ideal: width }, facingMode: facing } })
  let timer: ReturnType<typeof setInterval> | undefined
  let isOver = false
  const { closed, stop } = endingOf(() => {
    isOver = true
    clearInterval(timer)
    for (const track of stream.getTracks()) track.stop()
  }, signal)
  const [video, canvas] = [browser.document.createElement('video'), browser.document.createElement('canvas')]
  try {
    video.muted = true
    video.srcObject = stream
    await video.play()
    signal?.throwIfAborted()
  } catch (error) {
    stop()
    throw error
  }
  canvas.width = width
  canvas.height = Math.round((width * video.videoHeight) / video.videoWidth)
  const picture = canvas.getContext('2d')
  let isBusy = false
  timer = setInterval(() => {
    if (isBusy || !isFree()) return
    isBusy = true
    picture.drawImage(video, 0, 0, canvas.width, canvas.height)
    canvas.toBlob(
      async jpeg => {
        const bytes = await jpeg?.arrayBuffer()
        // What was under way at the end must not be seen any more.
        if (bytes !== undefined && !isOver) send(bytes)
        isBusy = false
      },
      'image/jpeg',
      quality,
    )
  }, 1000 / fps)
  for (const track of stream.getTracks()) track.addEventListener('ended', stop)
  return { stream, closed, stop }
}
