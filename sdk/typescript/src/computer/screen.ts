/** The screen of a session. */

import { InvalidArgumentError, ScreenError } from '../errors.js'
import { numberOf, objectOf, parseJson, present, textOf } from '../json.js'
import type { CallOptions } from '../options.js'
import type { Outcome } from '../outcome.js'
import type { OperationResult } from '../results.js'
import { BaseService } from '../service.js'
import type { ScreenSize, ScreenshotResult } from './result.js'

/**
 * The screen.
 *
 * @example
 * ```ts
 * const { data } = await session.computer.screen.betaTakeScreenshot('jpeg')
 * ```
 */
export class ScreenController<Throws extends boolean = false> extends BaseService<Throws> {
  /** @internal */
  protected override get errorClass() {
    return ScreenError
  }

  /** Takes a picture; `data` is its URL. @example `const { data: url } = await session.computer.screen.capture()` */
  capture(options?: CallOptions): Promise<Outcome<OperationResult, Throws>> {
    return this.callMcpTool('system_screenshot', {}, undefined, undefined, options)
  }

  /** How large the screen is. @example `const { width, height } = await session.computer.screen.getSize()` */
  getSize(options?: CallOptions): Promise<Outcome<ScreenSize, Throws>> {
    return this.attempt<ScreenSize>(
      options,
      async () => {
        const { text, requestId } = await this.tool('get_screen_size', {}, options)
        const { width, height, dpiScalingFactor } = objectOf(parseJson(text))
        return {
          requestId,
          success: true,
          width: numberOf(width),
          height: numberOf(height),
          dpiScalingFactor: numberOf(dpiScalingFactor) || 1,
        }
      },
      { width: 0, height: 0, dpiScalingFactor: 1 },
    )
  }

  /**
   * Takes a picture and gives its bytes.
   *
   * @param format is `png` or `jpeg`.
   *
   * @example
   * ```ts
   * const shot = await session.computer.screen.betaTakeScreenshot()
   * if (shot.data) await writeFile('screen.png', shot.data)
   * ```
   */
  betaTakeScreenshot(format = 'png', options?: CallOptions): Promise<Outcome<ScreenshotResult, Throws>> {
    return this.attempt<ScreenshotResult>(options, async () => {
      const wanted = format.trim().toLowerCase().replace('jpg', 'jpeg')
      if (wanted !== 'png' && wanted !== 'jpeg') {
        throw new InvalidArgumentError(
          `Invalid format: \`format\` is ${JSON.stringify(format)}; allowed: png, jpeg`,
        )
      }
      const { text, requestId } = await this.tool('screenshot', { format: wanted }, options)
      const said = objectOf(parseJson(text))
      if (typeof said.data !== 'string') throw new ScreenError('`screenshot` answered without a picture')
      return present<ScreenshotResult>({
        requestId,
        success: true,
        type: textOf(said.type),
        data: Buffer.from(said.data, 'base64'),
        mimeType: textOf(said.mime_type),
        width: typeof said.width === 'number' ? said.width : undefined,
        height: typeof said.height === 'number' ? said.height : undefined,
      })
    })
  }
}
