/** What every call takes as its last argument. */
export interface CallOptions {
  /** Ends the call. It then rejects with `signal.reason`, whether results or errors are wanted. */
  signal?: AbortSignal
  /** Milliseconds that the whole call may take, from the first byte of the request to the last one of the answer. */
  timeoutMs?: number
  /** From when on the time counts, by the clock of `performance`; from each request if absent. @internal */
  since?: number
}

/** The limits of a call that also takes its time as an argument, which `options` goes before. */
export function limitsOf(readTimeout: number | undefined, options: CallOptions): CallOptions {
  return readTimeout === undefined ? options : { timeoutMs: readTimeout, ...options }
}
