/** How long a call goes on: until its signal aborts or its time is up. */

import { InvalidArgumentError, TimeoutError } from './errors.js'
import type { CallOptions } from './options.js'

/** Longest time that a timer takes. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1

/** The caller's signal and the time of a call, as one signal. */
export class Limits {
  readonly #abort = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #what: string
  readonly #user: AbortSignal | undefined
  readonly #timeoutMs: number
  readonly #onAbort = (): void => this.#abort.abort()

  /**
   * @param what is what the error of a call that took too long names.
   * @param presetMs is the time where the options have none.
   */
  constructor(what: string, options: CallOptions, presetMs: number) {
    const { signal, timeoutMs = presetMs, since } = options
    if (!(timeoutMs > 0)) {
      throw new InvalidArgumentError(
        `\`timeoutMs\` is ${timeoutMs}; allowed: a number above 0 (milliseconds)`,
      )
    }
    this.#what = what
    this.#timeoutMs = timeoutMs
    this.#user = signal
    signal?.throwIfAborted()
    const restMs = since === undefined ? timeoutMs : since + timeoutMs - performance.now()
    if (restMs <= 0) throw this.#late()
    signal?.addEventListener('abort', this.#onAbort, { once: true })
    this.#timer = setTimeout(() => this.#abort.abort(), Math.min(restMs, TIMEOUT_MS_MAX))
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** Throws what ended the call, if a limit did. */
  check(): void {
    this.#user?.throwIfAborted()
    if (this.#abort.signal.aborted) throw this.#late()
  }

  release(): void {
    clearTimeout(this.#timer)
    this.#user?.removeEventListener('abort', this.#onAbort)
  }

  #late(): TimeoutError {
    const timeoutMs = this.#timeoutMs
    return new TimeoutError(`${this.#what} took longer than ${timeoutMs} ms`, { timeoutMs })
  }
}

/** Does `work`, which ends when the signal that it gets aborts. */
export async function within<T>(
  what: string,
  options: CallOptions,
  presetMs: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limits = new Limits(what, options, presetMs)
  try {
    return await work(limits.signal)
  } catch (error) {
    limits.check()
    throw error
  } finally {
    limits.release()
  }
}

/** The limits of a call that needs several requests and pauses: its time counts from here for all of them. */
export function begin(options: CallOptions = {}): CallOptions {
  return options.timeoutMs === undefined ? options : { since: performance.now(), ...options }
}

/** Waits between two requests of a call. */
export function pause(ms: number, options: CallOptions): Promise<void> {
  return within('the call', options, Number.POSITIVE_INFINITY, async (signal) => {
    let timer: NodeJS.Timeout | undefined
    const over = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms)
    })
    await unless(signal, over).finally(() => clearTimeout(timer))
  })
}

/** What `work` gives, which goes on by itself; rejects when the signal aborts before that. */
export function unless<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    work.then(resolve, reject)
  })
}

/** Whether what was thrown is the end of the whole call, and not of one of its requests. */
export function isEnd(thrown: unknown, { signal, timeoutMs }: CallOptions): boolean {
  return signal?.aborted === true || (thrown instanceof TimeoutError && thrown.timeoutMs === timeoutMs)
}
