/** The one place where a failure becomes a result or an error. */

import { type AGBError, asError } from './errors.js'
import type { CallOptions } from './options.js'

/** Members that a result has when it is a success. */
export type Gained = 'session' | 'metrics' | 'fileInfo' | 'window' | 'context' | 'url' | 'matches'

/** A result that is known to be a success. */
export type Succeeded<R> = R & {
  /** That it was done. */
  success: true
} & {
  [K in keyof R & Gained]-?: NonNullable<R[K]>
}

/** What a method resolves to: with `throwOnError` only successes, otherwise either. */
export type Outcome<R, Throws extends boolean> = Throws extends true ? Succeeded<R> : R

/** What all results have. */
export interface Settled {
  /** Under which the server's log has the request. */
  requestId?: string
  /** Whether it was done. */
  success: boolean
  /** Why not. */
  errorMessage?: string
}

/** A failure as the members that all results have. */
export function failed(error: AGBError): { requestId: string; success: false; errorMessage: string } {
  return { requestId: error.requestId, success: false, errorMessage: error.message }
}

/**
 * Does `work`. What it throws is thrown on where errors are wanted, as `translate` makes it, and becomes what `failure` makes
 * of it otherwise. Whoever aborted a call wants to hear of that and nothing else.
 */
export async function orElse<T>(
  throwOnError: boolean,
  options: CallOptions | undefined,
  work: () => Promise<T>,
  failure: (error: AGBError) => T,
  translate: (error: AGBError) => AGBError = (error) => error,
): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    options?.signal?.throwIfAborted()
    const error = translate(asError(thrown))
    if (throwOnError) throw error
    return failure(error)
  }
}

/** The same for methods that have results. */
export function settle<R, Throws extends boolean>(
  ...how: Parameters<typeof orElse<R>>
): Promise<Outcome<R, Throws>> {
  return orElse<R>(...how) as Promise<Outcome<R, Throws>>
}
