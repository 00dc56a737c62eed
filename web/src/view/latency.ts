/**
 * From an input to the picture that shows its effect, as the viewer lives it.
 *
 * An update names the last input that was applied before it was captured. The time from sending that input to painting
 * the update holds both ways of the network, the application's work, the capture, the decoding.
 */

/** Inputs remembered; more than can be on their way at once. */
const REMEMBERED = 256

/** An update so late was caused by something else, such as a clock that ticks after a click into nothing. */
const UNRELATED_MS = 1500

/** Weight of a new sample in the running figure. */
const WEIGHT = 0.25

export class Latency {
  readonly #sentAtMs = new Float64Array(REMEMBERED)
  #acknowledged = 0
  #smoothMs: number | null = null

  /** The running figure; `null` before the first sample. */
  get ms(): number | null {
    return this.#smoothMs
  }

  /** The highest input number that a painted update has answered. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  sent(inputSeq: number, nowMs: number): void {
    this.#sentAtMs[inputSeq % REMEMBERED] = nowMs
  }

  /** An update that answers `inputSeq` is on the canvas; `sentLast` is the newest input that was sent. */
  painted(inputSeq: number, sentLast: number, nowMs: number): void {
    // Also refuses numbers that were never sent: the server is not trusted with our figures.
    if (inputSeq <= this.#acknowledged || inputSeq > sentLast) return
    this.#acknowledged = inputSeq
    if (sentLast - inputSeq >= REMEMBERED) return
    const ms = nowMs - (this.#sentAtMs[inputSeq % REMEMBERED] ?? nowMs)
    if (ms > UNRELATED_MS) return
    this.#smoothMs = this.#smoothMs === null ? ms : this.#smoothMs + (ms - this.#smoothMs) * WEIGHT
  }
}
