/** The windows of a session. */

import { ScreenError } from '../errors.js'
import { isObject, type JsonObject, listOf, objectOf, parseJson, present } from '../json.js'
import type { CallOptions } from '../options.js'
import type { Outcome } from '../outcome.js'
import type { BoolResult } from '../results.js'
import { BaseService } from '../service.js'
import type { WindowInfo, WindowInfoResult, WindowListResult } from './result.js'

/**
 * The windows on the desktop.
 *
 * @example
 * ```ts
 * const { windows } = await session.computer.window.listRootWindows()
 * for (const window of windows) console.log(window.window_id, window.title)
 * ```
 */
export class WindowManager<Throws extends boolean = false> extends BaseService<Throws> {
  /** @internal */
  protected override get errorClass() {
    return ScreenError
  }

  /** The windows of applications. @example `await session.computer.window.listRootWindows()` */
  listRootWindows(timeoutMs = 3000, options?: CallOptions): Promise<Outcome<WindowListResult, Throws>> {
    return this.attempt<WindowListResult>(
      options,
      async () => {
        const { text, requestId } = await this.tool('list_root_windows', { timeout_ms: timeoutMs }, options)
        const windows = listOf(parseJson(text)).filter(isObject).map(windowInfo)
        return { requestId, success: true, windows }
      },
      { windows: [] },
    )
  }

  /** The window that has the keyboard. @example `const { window } = await session.computer.window.getActiveWindow()` */
  getActiveWindow(options?: CallOptions): Promise<Outcome<WindowInfoResult, Throws>> {
    return this.attempt<WindowInfoResult>(options, async () => {
      const { text, requestId } = await this.tool('get_active_window', {}, options)
      return { requestId, success: true, window: windowInfo(objectOf(parseJson(text))) }
    })
  }

  /** Brings a window to the front. @example `await session.computer.window.activate(id)` */
  activate(windowId: number, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('activate_window', { window_id: windowId }, options)
  }

  /** Closes a window. @example `await session.computer.window.close(id)` */
  close(windowId: number, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('close_window', { window_id: windowId }, options)
  }

  /** Makes a window as large as the screen. @example `await session.computer.window.maximize(id)` */
  maximize(windowId: number, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('maximize_window', { window_id: windowId }, options)
  }

  /** Puts a window away. @example `await session.computer.window.minimize(id)` */
  minimize(windowId: number, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('minimize_window', { window_id: windowId }, options)
  }

  /** Makes a window as it was. @example `await session.computer.window.restore(id)` */
  restore(windowId: number, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('restore_window', { window_id: windowId }, options)
  }

  /** Gives a window the whole screen. @example `await session.computer.window.fullscreen(id)` */
  fullscreen(windowId: number, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('fullscreen_window', { window_id: windowId }, options)
  }

  /** Gives a window another size. @example `await session.computer.window.resize(id, 800, 600)` */
  resize(
    windowId: number,
    width: number,
    height: number,
    options?: CallOptions,
  ): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('resize_window', { window_id: windowId, width, height }, options)
  }

  /** Keeps other windows from taking the keyboard. @example `await session.computer.window.focusMode(true)` */
  focusMode(on: boolean, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('focus_mode', { on }, options)
  }
}

/** A window as the tool says it, also under the short names. */
function windowInfo(said: JsonObject): WindowInfo {
  const { window_id: id, absolute_upper_left_x: x, absolute_upper_left_y: y } = said
  return present<WindowInfo>({ x, y, id: id === undefined ? undefined : String(id), ...said } as WindowInfo)
}
