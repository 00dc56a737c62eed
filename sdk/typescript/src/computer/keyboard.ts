/** The keyboard of a session. */

import { ScreenError } from '../errors.js'
import type { CallOptions } from '../options.js'
import type { Outcome } from '../outcome.js'
import type { BoolResult } from '../results.js'
import { BaseService } from '../service.js'

/**
 * The keyboard. Keys are named as on it: `Ctrl`, `Alt`, `Enter`, `a`, `F5`.
 *
 * @example
 * ```ts
 * await session.computer.keyboard.type('hello')
 * await session.computer.keyboard.press(['Ctrl', 'a'])
 * ```
 */
export class KeyboardController<Throws extends boolean = false> extends BaseService<Throws> {
  /** @internal */
  protected override get errorClass() {
    return ScreenError
  }

  /** Types a text. @example `await session.computer.keyboard.type('hello')` */
  type(text: string, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('input_text', { text }, options)
  }

  /** Presses keys together; `hold` keeps them down. @example `await session.computer.keyboard.press(['Ctrl', 'c'])` */
  press(keys: string | string[], hold = false, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('press_keys', { keys: listed(keys), hold }, options)
  }

  /** Lets keys go. @example `await session.computer.keyboard.release('Ctrl')` */
  release(keys: string | string[], options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('release_keys', { keys: listed(keys) }, options)
  }
}

function listed(keys: string | string[]): string[] {
  return typeof keys === 'string' ? [keys] : keys
}
