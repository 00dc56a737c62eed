/**
 * The clock of a recording, and the picture that goes with it.
 *
 * Each segment is shown on a canvas of its own, which takes the place of the one before when its first picture is whole.
 * One step runs at a time; a jump makes the step that is under way worthless, and the next one begins from there.
 */

import { beganAt, type Contents, lastAt, type Segment, type Source } from './recording.ts'
import { Show, type ShowEvents } from './show.ts'

/** Standing still for longer than this is skipped, but for a moment before it goes on. */
const IDLE_MS = 1500
const IDLE_REST_MS = 400

export interface PlayerEvents extends ShowEvents {
  /** Another canvas is to be seen. */
  onCanvas(canvas: HTMLCanvasElement): void
  onChange(): void
  onError(error: unknown): void
}

export class Player {
  speed = 1
  skipsIdle = true
  readonly #contents: Contents
  readonly #source: Source
  readonly #events: PlayerEvents
  readonly #begins: readonly number[]
  #show: Show | null = null
  #time = 0
  #playing = false
  /** Counts the jumps. */
  #jump = 0
  #stepping = false
  #shown = -1
  #last = 0

  constructor(contents: Contents, source: Source, events: PlayerEvents) {
    this.#contents = contents
    this.#source = source
    this.#events = events
    this.#begins = contents.events.map(beganAt).sort((a, b) => a - b)
  }

  get time(): number {
    return this.#time
  }

  get playing(): boolean {
    return this.#playing
  }

  /** The picture is that of {@link time}. */
  get settled(): boolean {
    return !this.#stepping && this.#shown === this.#time
  }

  get size(): { width: number; height: number } {
    const canvas = this.#show?.canvas
    return { width: canvas?.width ?? 1, height: canvas?.height ?? 1 }
  }

  play(): void {
    if (this.#playing) return
    if (this.#time >= this.#contents.duration) this.seek(0)
    this.#playing = true
    this.#last = performance.now()
    requestAnimationFrame(() => this.#tick())
    this.#events.onChange()
  }

  pause(): void {
    this.#playing = false
    this.#events.onChange()
  }

  seek(time: number): void {
    this.#time = Math.max(0, Math.min(time, this.#contents.duration))
    this.#jump++
    this.#events.onChange()
    void this.#step()
  }

  #tick(): void {
    if (!this.#playing) return
    const now = performance.now()
    // A page that was hidden does not jump.
    const passed = Math.min(now - this.#last, 250) * this.speed
    this.#last = now
    // While the picture is behind, the clock waits for it.
    if (!this.#stepping) {
      this.#time = Math.min(this.#afterIdle(this.#time + passed), this.#contents.duration)
      this.#events.onChange()
      void this.#step()
      if (this.#time >= this.#contents.duration) this.pause()
    }
    requestAnimationFrame(() => this.#tick())
  }

  /** `time`, or a later one if nothing happens until then. */
  #afterIdle(time: number): number {
    const show = this.#show
    if (!this.skipsIdle || !show) return time
    const segment = this.#contents.segments[this.#contents.segments.indexOf(show.segment) + 1]
    const event = this.#begins[lastAt(this.#begins, time, (begin) => begin) + 1]
    const next = Math.min(
      show.nextTime ?? segment?.time ?? this.#contents.duration,
      event ?? this.#contents.duration,
    )
    return next - time > IDLE_MS ? next - IDLE_REST_MS : time
  }

  /** Brings the picture to the clock's time. */
  async #step(): Promise<void> {
    if (this.#stepping) return
    this.#stepping = true
    try {
      while (this.#shown !== this.#time) {
        const [jump, time] = [this.#jump, this.#time]
        const over = () => jump !== this.#jump
        await this.#bring(time, over)
        if (!over()) this.#shown = time
      }
    } catch (error) {
      this.#playing = false
      this.#shown = this.#time
      this.#show?.close()
      this.#show = null
      this.#events.onError(error)
    }
    this.#stepping = false
    this.#events.onChange()
  }

  async #bring(time: number, over: () => boolean): Promise<void> {
    const { segments } = this.#contents
    const segment =
      segments[
        Math.max(
          0,
          lastAt(segments, time, (it) => it.time),
        )
      ]
    if (!segment) return
    if (this.#show?.segment === segment && this.#shown <= time) {
      await this.#show.advance(time, over)
      return
    }
    const show = await this.#open(segment)
    await show.advance(Math.max(time, show.begin), over)
    if (over()) {
      show.close()
      return
    }
    this.#show?.close()
    this.#show = show
    this.#events.onCanvas(show.canvas)
    const next = segments[segments.indexOf(segment) + 1]
    // Read before it is due. What fails now fails again when it is.
    if (next) this.#source.messages(next).catch(() => {})
  }

  async #open(segment: Segment): Promise<Show> {
    return new Show(segment, await this.#source.messages(segment), this.#events)
  }
}
