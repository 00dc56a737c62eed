/** The desktop of a session. */

import type { CallOptions } from '../options.js'
import type { Outcome } from '../outcome.js'
import type { BoolResult, OperationResult } from '../results.js'
import { BaseService } from '../service.js'
import type { SessionLike } from '../tool-call.js'
import { ApplicationManager } from './app.js'
import { KeyboardController } from './keyboard.js'
import { type MouseButton, MouseController } from './mouse.js'
import { ScreenController } from './screen.js'
import { WindowManager } from './window.js'

/**
 * The desktop: mouse, keyboard, windows, applications, screen.
 *
 * @example
 * ```ts
 * await session.computer.app.start('xterm')
 * await session.computer.keyboard.type('ls\n')
 * const { data } = await session.computer.screen.betaTakeScreenshot()
 * ```
 */
export class Computer<Throws extends boolean = false> extends BaseService<Throws> {
  /** The mouse. */
  readonly mouse: MouseController<Throws>
  /** The keyboard. */
  readonly keyboard: KeyboardController<Throws>
  /** The windows. */
  readonly window: WindowManager<Throws>
  /** The applications. */
  readonly app: ApplicationManager<Throws>
  /** The screen. */
  readonly screen: ScreenController<Throws>

  /** @param session is what the desktop belongs to. */
  constructor(session: SessionLike) {
    super(session)
    this.mouse = new MouseController(session)
    this.keyboard = new KeyboardController(session)
    this.window = new WindowManager(session)
    this.app = new ApplicationManager(session)
    this.screen = new ScreenController(session)
  }

  /** The same as `screen.capture`. @example `const { data: url } = await session.computer.screenshot()` */
  screenshot(options?: CallOptions): Promise<Outcome<OperationResult, Throws>> {
    return this.screen.capture(options)
  }

  /** The same as `mouse.click`. @example `await session.computer.mouseClick(100, 200)` */
  mouseClick(
    x: number,
    y: number,
    button?: MouseButton,
    options?: CallOptions,
  ): Promise<Outcome<BoolResult, Throws>> {
    return this.mouse.click(x, y, button, options)
  }

  /** The same as `keyboard.press` of one key. @example `await session.computer.keyPress('Enter')` */
  keyPress(key: string, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.keyboard.press([key], false, options)
  }
}
