/** The APIs of browsers that this library uses. The types of Node, with which this project compiles, do not have them. */
interface Browser {
  readonly navigator: { readonly mediaDevices?: { getUserMedia(wanted: object): Promise<MediaStream> } }
  readonly document: {
    createElement(name: 'video'): Video
    createElement(name: 'canvas'): Canvas
  }
  readonly AudioContext: new (options?: { sampleRate?: number; latencyHint?: string }) => AudioContext
  readonly AudioWorkletNode: new (
    context: AudioContext,
    name: string,
    options: object,
  ) => AudioNode & { readonly port: Port }
}

export interface MediaStream {
  getTracks(): readonly Track[]
}
interface Track {
  stop(): void
  addEventListener(type: 'ended', listener: () => void): void
}
interface Video {
  srcObject: MediaStream | null
  muted: boolean
  readonly videoWidth: number
  readonly videoHeight: number
  play(): Promise<void>
}
interface Canvas {
  width: number
  height: number
  getContext(kind: '2d'): { drawImage(image: Video, x: number, y: number, width: number, height: number): void }
  toBlob(done: (blob: Blob | null) => void, type: string, quality: number): void
}
export interface Port {
  onmessage: ((event: { readonly data: Int16Array<ArrayBuffer> }) => void) | null
}
interface AudioNode {
  connect(to: AudioNode): void
}
export interface Gain extends AudioNode {
  readonly gain: {
    setValueAtTime(value: number, at: number): void
    linearRampToValueAtTime(value: number, at: number): void
    cancelScheduledValues(from: number): void
  }
}
interface AudioBuffer {
  readonly duration: number
  getChannelData(channel: number): Float32Array
}
interface AudioSource extends AudioNode {
  buffer: AudioBuffer
  start(at: number): void
}
export interface AudioContext {
  readonly currentTime: number
  readonly sampleRate: number
  readonly state: string
  readonly destination: AudioNode
  readonly audioWorklet: { addModule(url: string | URL): Promise<void> }
  createMediaStreamSource(stream: MediaStream): AudioNode
  createGain(): Gain
  createBuffer(channels: number, length: number, rate: number): AudioBuffer
  createBufferSource(): AudioSource
  resume(): Promise<void>
  close(): Promise<void>
}

export const browser = globalThis as unknown as Browser

/** Opens a device; the browser may ask the user. Rejects with the browser's error if the user refuses. */
export async function capture(device: 'microphone' | 'camera', wanted: object): Promise<MediaStream> {
  const devices = browser.navigator?.mediaDevices
  if (devices === undefined)
    throw new Error(`the ${device} is not available: it needs a browser and a page on HTTPS or localhost`)
  return devices.getUserMedia(wanted)
}
