/** Tells listeners. A fault of their own is no reason to lose what they are told about. */

import { messageOf } from './errors.js'
import { logWarn } from './log.js'

/** Tells a listener, if there is one. What it throws, at once or later, is said in the log. */
export function tell<T>(listener: ((said: T) => unknown) | undefined, said: T): void {
  const told = async (): Promise<unknown> => listener?.(said)
  told().catch((error: unknown) => logWarn('a listener threw:', messageOf(error)))
}
