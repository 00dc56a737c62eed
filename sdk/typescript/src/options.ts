/** What every call takes as its last argument. */
export interface CallOptions {
  /** Ends the call. It then rejects with `signal.reason`, whether results or errors are wanted. */
  signal?: AbortSignal
  /** Milliseconds that the whole call may take, from the first byte of the request to the last one of the answer. */
  timeoutMs?: number
}
