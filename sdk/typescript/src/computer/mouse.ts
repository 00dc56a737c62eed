/** The mouse of a session. */

import { ScreenError } from '../errors.js'
import { numberOf, objectOf, parseJson } from '../json.js'
import type { CallOptions } from '../options.js'
import type { Outcome } from '../outcome.js'
import type { BoolResult } from '../results.js'
import { BaseService } from '../service.js'
import type { CursorPosition } from './result.js'

/** A button, or two clicks of the left one. @example `await session.computer.mouse.click(640, 360, MouseButton.RIGHT)` */
export enum MouseButton {
  /** Left. */
  LEFT = 'left',
  /** Right. */
  RIGHT = 'right',
  /** Middle. */
  MIDDLE = 'middle',
  /** Left, twice. */
  DOUBLE_LEFT = 'double_left',
}

/** Where the wheel turns to. @example `await session.computer.mouse.scroll(640, 360, ScrollDirection.DOWN, 3)` */
export enum ScrollDirection {
  /** Up. */
  UP = 'up',
  /** Down. */
  DOWN = 'down',
  /** To the left. */
  LEFT = 'left',
  /** To the right. */
  RIGHT = 'right',
}

/**
 * The mouse. Places are in pixels from the upper left corner of the screen.
 *
 * @example
 * ```ts
 * await session.computer.mouse.click(100, 200)
 * ```
 */
export class MouseController<Throws extends boolean = false> extends BaseService<Throws> {
  /** @internal */
  protected override get errorClass() {
    return ScreenError
  }

  /** Clicks. @example `await session.computer.mouse.click(100, 200, MouseButton.RIGHT)` */
  click(
    x: number,
    y: number,
    button: MouseButton | `${MouseButton}` = MouseButton.LEFT,
    options?: CallOptions,
  ): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('click_mouse', { x, y, button }, options)
  }

  /** Moves the pointer. @example `await session.computer.mouse.move(100, 200)` */
  move(x: number, y: number, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('move_mouse', { x, y }, options)
  }

  /** Presses at one place and lets go at another. @example `await session.computer.mouse.drag(10, 10, 200, 200)` */
  drag(
    startX: number,
    startY: number,
    endX: number,
    endY: number,
    button: MouseButton | `${MouseButton}` = MouseButton.LEFT,
    options?: CallOptions,
  ): Promise<Outcome<BoolResult, Throws>> {
    const args = { from_x: startX, from_y: startY, to_x: endX, to_y: endY, button }
    return this.bool('drag_mouse', args, options)
  }

  /** Turns the wheel. @example `await session.computer.mouse.scroll(400, 300, ScrollDirection.DOWN, 3)` */
  scroll(
    x: number,
    y: number,
    direction: ScrollDirection | `${ScrollDirection}` = ScrollDirection.UP,
    amount = 1,
    options?: CallOptions,
  ): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('scroll', { x, y, direction, amount }, options)
  }

  /** Where the pointer is. @example `const { x, y } = await session.computer.mouse.getPosition()` */
  getPosition(options?: CallOptions): Promise<Outcome<CursorPosition, Throws>> {
    return this.attempt<CursorPosition>(
      options,
      async () => {
        const { text, requestId } = await this.tool('get_cursor_position', {}, options)
        const { x, y } = objectOf(parseJson(text))
        return { requestId, success: true, x: numberOf(x), y: numberOf(y) }
      },
      { x: 0, y: 0 },
    )
  }
}
