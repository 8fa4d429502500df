import { browser, capture } from './platform.ts'
import { createStoppable, type Stoppable } from './stoppable.ts'

export interface CameraOptions {
  /** Stops the camera. */
  readonly signal?: AbortSignal
  /** Maximum pictures per second; fewer on a slow connection. Default: 5. */
  readonly fps?: number
  /** Pixels; the height keeps the aspect ratio. Default: 640. */
  readonly width?: number
  /** JPEG quality, 0 to 1. Default: 0.7. */
  readonly quality?: number
  /** `user`: the front camera (default); `environment`: the rear camera. */
  readonly facing?: 'user' | 'environment'
}

/** An open camera. It stops when the device is disconnected. */
export interface Camera extends Stoppable {
  /** For the `srcObject` of a `<video>`. */
  readonly stream: object
}

/** Sends JPEG pictures. While `isReady` returns `false` they are dropped, so that pictures do not arrive late. */
export async function openCamera(
  send: (jpeg: ArrayBuffer) => void,
  isReady: () => boolean,
  { signal, fps = 5, width = 640, quality = 0.7, facing = 'user' }: CameraOptions,
): Promise<Camera> {
  signal?.throwIfAborted()
  const stream = await capture('camera', { video: { width: { ideal: width }, facingMode: facing } })
  let timer: ReturnType<typeof setInterval> | undefined
  let isStopped = false
  const { closed, stop } = createStoppable(() => {
    isStopped = true
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
    if (isBusy || !isReady()) return
    isBusy = true
    picture.drawImage(video, 0, 0, canvas.width, canvas.height)
    canvas.toBlob(
      async jpeg => {
        const bytes = await jpeg?.arrayBuffer()
        // The camera may have stopped while the picture was encoded.
        if (bytes !== undefined && !isStopped) send(bytes)
        isBusy = false
      },
      'image/jpeg',
      quality,
    )
  }, 1000 / fps)
  for (const track of stream.getTracks()) track.addEventListener('ended', stop)
  return { stream, closed, stop }
}
