/** Lets time pass that is the test's own. */

import { vi } from 'vitest'

/** What a call gives; so many milliseconds pass again and again until then. */
export async function passing<T>(call: Promise<T>, stepMs: number): Promise<T> {
  let isOver = false
  const settled = () => {
    isOver = true
  }
  call.then(settled, settled)
  while (!isOver) await vi.advanceTimersByTimeAsync(stepMs)
  return call
}
