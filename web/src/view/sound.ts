/**
 * The session's sound: Opus packets in, sound from this computer's speakers out.
 *
 * Decoded pieces are played one behind the other. The first of them waits for {@link DELAY_S}, so that those after it may
 * come unevenly; pieces that would make the delay longer than {@link DELAY_MAX_S} are dropped, so that sound and picture
 * stay together. Packets are left out during silence: then it begins anew.
 */

export const DELAY_S = 0.06
export const DELAY_MAX_S = 0.15

const SAMPLE_RATE = 48_000
const CHANNELS = 2
const PACKET_US = 20_000

/** Packets that wait in the decoder; a session that floods it is not heard. */
const DECODING_MAX = 25

/** When to play which piece. Pure: times are the audio clock's, in seconds. */
export class PlayClock {
  #nextS = 0

  /** When the next piece, which lasts `lengthS`, is to begin; `null`: it is dropped. */
  begin(nowS: number, lengthS: number): number | null {
    const atS = this.#nextS < nowS ? nowS + DELAY_S : this.#nextS
    if (atS - nowS > DELAY_MAX_S) return null
    this.#nextS = atS + lengthS
    return atS
  }

  forget(): void {
    this.#nextS = 0
  }
}

export function canDecodeSound(): boolean {
  return typeof AudioDecoder === 'function' && typeof AudioContext === 'function'
}

export class Sound {
  readonly #clock = new PlayClock()
  #playing: { context: AudioContext; decoder: AudioDecoder } | null = null

  get on(): boolean {
    return this.#playing !== null
  }

  start(): void {
    if (this.#playing) return
    const context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: 'interactive' })
    const decoder = new AudioDecoder({
      output: (data) => this.#play(data),
      // Packets of a hostile session; the next start tries again.
      error: () => this.stop(),
    })
    decoder.configure({ codec: 'opus', sampleRate: SAMPLE_RATE, numberOfChannels: CHANNELS })
    this.#playing = { context, decoder }
  }

  /** Somebody has clicked or typed: from here on browsers allow sound. */
  resume(): void {
    const context = this.#playing?.context
    if (context?.state === 'suspended') void context.resume().catch(() => {})
  }

  take(seq: number, packet: Uint8Array<ArrayBuffer>): void {
    const playing = this.#playing
    if (playing?.context.state !== 'running' || playing.decoder.state !== 'configured') return
    if (playing.decoder.decodeQueueSize > DECODING_MAX) return
    playing.decoder.decode(new EncodedAudioChunk({ type: 'key', timestamp: seq * PACKET_US, data: packet }))
  }

  stop(): void {
    const playing = this.#playing
    this.#playing = null
    this.#clock.forget()
    if (!playing) return
    if (playing.decoder.state !== 'closed') playing.decoder.close()
    void playing.context.close()
  }

  #play(data: AudioData): void {
    const context = this.#playing?.context
    const { numberOfFrames: length, numberOfChannels: channels, sampleRate } = data
    const atS = context ? this.#clock.begin(context.currentTime, length / sampleRate) : null
    if (context && atS !== null) {
      const buffer = context.createBuffer(channels, length, sampleRate)
      for (let channel = 0; channel < channels; channel++) {
        const samples = new Float32Array(length)
        data.copyTo(samples, { planeIndex: channel, format: 'f32-planar' })
        buffer.copyToChannel(samples, channel)
      }
      const source = context.createBufferSource()
      source.buffer = buffer
      source.connect(context.destination)
      source.start(atS)
    }
    data.close()
  }
}
