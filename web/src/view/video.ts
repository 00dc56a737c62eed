/**
 * Decoders of motion: a VP8 stream through WebCodecs, or JPEG pictures where there is none.
 *
 * In: frame messages in order. Out: paints that draw the frame's rectangles. A decoder that fails is reported through
 * `onFailure` and draws nothing until the server has sent a key frame, or turned to something else; the picture
 * that is there stays. Sizes inside the packets are checked before the browser's decoder sees them: they come from inside a session.
 */

import { MalformedError, Reader } from './bytes.ts'
import type { Decoder, Paint, UpdateMessage } from './decoder.ts'
import type { Rect } from './wire.ts'

/** How often one frame may draw the whole screen: it has up to eight areas, which may overlap. */
const SCREENS_IN_FRAME_MAX = 8

/** A decoder that has given nothing for so long gives nothing any more. */
const SILENCE_MS = 500

/** What has become of the decoder: a key frame may help it, or it does not work here at all. */
export type VideoFailure = 'wants-key' | 'broken'

type VideoMessage = Extract<UpdateMessage, { kind: 'video' }>

const NOTHING: Paint = () => {}

export function canDecodeVideo(): boolean {
  return typeof VideoDecoder === 'function'
}

export function canDecodeJpeg(): boolean {
  return typeof createImageBitmap === 'function'
}

/** Hands each frame to the decoder of its codec. */
export class MotionDecoder implements Decoder {
  readonly #vp8: Vp8Decoder
  readonly #jpeg = new JpegDecoder()
  #width = 0
  #height = 0

  constructor(onFailure: (failure: VideoFailure) => void) {
    this.#vp8 = new Vp8Decoder(onFailure)
  }

  reset(width: number, height: number): void {
    this.#width = width
    this.#height = height
    this.#vp8.reset()
  }

  async decode(message: UpdateMessage): Promise<Paint> {
    if (message.kind !== 'video') throw new MalformedError('tiles are no video')
    let budget = this.#width * this.#height * SCREENS_IN_FRAME_MAX
    for (const { x, y, width, height } of message.rects) {
      if (x + width > this.#width || y + height > this.#height) {
        throw new MalformedError(`a frame draws ${width}x${height}+${x}+${y}, outside of the screen`)
      }
      budget -= width * height
    }
    if (budget < 0) {
      throw new MalformedError(`a frame draws the screen more than ${SCREENS_IN_FRAME_MAX} times`)
    }
    switch (message.codec) {
      case 0:
        return this.#vp8.decode(message, this.#width, this.#height)
      case 1:
        return this.#jpeg.decode(message)
      default:
        throw new MalformedError(`video codec ${message.codec} is not one of this version's`)
    }
  }

  dispose(): void {
    this.#vp8.dispose()
  }
}

/** A frame that was given to the decoder. */
interface Waiting {
  readonly rects: readonly Rect[]
  readonly resolve: (paint: Paint) => void
  readonly deadline: ReturnType<typeof setTimeout>
}

class Vp8Decoder {
  readonly #onFailure: (failure: VideoFailure) => void
  #decoder: VideoDecoder | null = null
  readonly #waiting = new Map<number, Waiting>()
  /** Frames that are decoded and not drawn; browsers run out of them quickly. */
  readonly #undrawn = new Set<VideoFrame>()
  #count = 0
  /** It failed, and has shown nothing since. */
  #failed = false
  #broken = false

  constructor(onFailure: (failure: VideoFailure) => void) {
    this.#onFailure = onFailure
  }

  reset(): void {
    this.#stop()
    this.#failed = false
  }

  decode(message: VideoMessage, width: number, height: number): Promise<Paint> {
    const { body } = message.update
    // The packet's own word (RFC 6386, section 9.1): a key frame in disguise would bring a size that nobody checked.
    if (body.length === 0 || ((body[0] ?? 0) & 1) === (message.keyFrame ? 1 : 0)) {
      throw new MalformedError('a packet of another kind than its message says')
    }
    if (message.keyFrame) {
      checkKeyFrame(body, width, height)
      if (!this.#decoder && !this.#broken) this.#start(width, height)
    }
    const decoder = this.#decoder
    if (!decoder) return Promise.resolve(NOTHING)
    const timestamp = this.#count++
    return new Promise((resolve) => {
      const deadline = setTimeout(() => this.#fail(), SILENCE_MS)
      this.#waiting.set(timestamp, { rects: message.rects, resolve, deadline })
      try {
        decoder.decode(
          new EncodedVideoChunk({ type: message.keyFrame ? 'key' : 'delta', timestamp, data: body }),
        )
      } catch {
        this.#fail()
      }
    })
  }

  dispose(): void {
    this.#stop()
    for (const frame of this.#undrawn) frame.close()
    this.#undrawn.clear()
  }

  #start(width: number, height: number): void {
    const decoder: VideoDecoder = new VideoDecoder({
      output: (frame) => {
        if (this.#decoder === decoder) this.#output(frame)
        else frame.close()
      },
      error: () => {
        if (this.#decoder === decoder) this.#fail()
      },
    })
    this.#decoder = decoder
    try {
      // In software: frames of hardware decoders may come late, and out of reach of a canvas.
      decoder.configure({
        codec: 'vp8',
        codedWidth: width,
        codedHeight: height,
        hardwareAcceleration: 'prefer-software',
        optimizeForLatency: true,
      })
    } catch {
      this.#fail()
    }
  }

  #output(frame: VideoFrame): void {
    const waiting = this.#waiting.get(frame.timestamp)
    if (!waiting) {
      frame.close()
      return
    }
    this.#failed = false
    this.#waiting.delete(frame.timestamp)
    clearTimeout(waiting.deadline)
    this.#undrawn.add(frame)
    waiting.resolve((surface) => {
      if (!this.#undrawn.delete(frame)) return
      for (const { x, y, width, height } of waiting.rects) surface.draw(frame, x, y, x, y, width, height)
      frame.close()
    })
  }

  #fail(): void {
    if (!this.#decoder) return
    this.#stop()
    // Once may be a packet that it did not like. Twice without a picture in between is a device that cannot.
    this.#broken ||= this.#failed
    this.#failed = true
    this.#onFailure(this.#broken ? 'broken' : 'wants-key')
  }

  /** Ends the decoder; what it owes draws nothing. */
  #stop(): void {
    const decoder = this.#decoder
    this.#decoder = null
    if (decoder && decoder.state !== 'closed') decoder.close()
    for (const { resolve, deadline } of this.#waiting.values()) {
      clearTimeout(deadline)
      resolve(NOTHING)
    }
    this.#waiting.clear()
  }
}

class JpegDecoder {
  async decode(message: VideoMessage): Promise<Paint> {
    const reader = new Reader(message.update.body)
    const pictures = message.rects.map(async (rect) => {
      const bytes = reader.bytes(reader.u32())
      const { width, height } = jpegSize(bytes)
      if (width !== rect.width || height !== rect.height) {
        throw new MalformedError(
          `a picture of ${width}x${height} for an area of ${rect.width}x${rect.height}`,
        )
      }
      return { rect, bitmap: await createImageBitmap(new Blob([bytes], { type: 'image/jpeg' })) }
    })
    const decoded = await Promise.all(pictures)
    return (surface) => {
      for (const { rect, bitmap } of decoded) {
        surface.draw(bitmap, 0, 0, rect.x, rect.y, rect.width, rect.height)
        bitmap.close()
      }
    }
  }
}

/** A key frame says its size after its tag and the start code (RFC 6386, section 9.1). */
function checkKeyFrame(packet: Uint8Array, width: number, height: number): void {
  const [a, b, c] = packet.subarray(3, 6)
  const side = (at: number) => ((packet[at] ?? 0) | ((packet[at + 1] ?? 0) << 8)) & 0x3fff
  if (a !== 0x9d || b !== 0x01 || c !== 0x2a || side(6) !== width || side(8) !== height) {
    throw new MalformedError(`a key frame that is none, or not of ${width}x${height} pixels`)
  }
}

/** The size that a JPEG picture's frame header says (ITU T.81, B.2.2). */
export function jpegSize(bytes: Uint8Array<ArrayBuffer>): { width: number; height: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 2
  while (at + 9 <= bytes.length && view.getUint8(at) === 0xff) {
    const marker = view.getUint8(at + 1)
    // Frame headers are C0 to CF, but for three markers in between that are something else.
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) }
    }
    at += 2 + view.getUint16(at + 2)
  }
  throw new MalformedError('a picture that is no JPEG')
}
