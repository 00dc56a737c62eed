/** Watches a directory by looking again and again. */

import { setTimeout as pause } from 'node:timers/promises'
import { messageOf, SessionError } from './errors.js'
import type { FileChangeEvent } from './file-results.js'
import { tell } from './listener.js'
import { logWarn } from './log.js'
import type { CallOptions } from './options.js'

/** Looks until the signal aborts or the session ends. Another failure passes: the next look may succeed. */
export async function watch(
  look: (limits: CallOptions) => Promise<FileChangeEvent[]>,
  callback: (events: FileChangeEvent[]) => void,
  intervalMs: number,
  signal: AbortSignal | undefined,
  throwOnError: boolean,
): Promise<void> {
  const limits = signal === undefined ? {} : { signal }
  while (!signal?.aborted) {
    let events: FileChangeEvent[] = []
    try {
      events = await look(limits)
    } catch (error) {
      if (signal?.aborted) return
      if (error instanceof SessionError) {
        if (throwOnError) throw error
        return
      }
      logWarn('a look at a directory failed:', messageOf(error))
    }
    if (signal?.aborted) return
    if (events.length > 0) tell(callback, events)
    await pause(intervalMs, undefined, limits).catch(() => undefined)
  }
}
