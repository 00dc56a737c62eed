/** The browser of a session. */

import { type AGBError, asError, BrowserError, InvalidArgumentError } from '../errors.js'
import { objectOf, textOf } from '../json.js'
import { logWarn } from '../log.js'
import type { CallOptions } from '../options.js'
import { type Outcome, orElse } from '../outcome.js'
import type { BoolResult } from '../results.js'
import { BaseService } from '../service.js'
import type { SessionLike } from '../tool-call.js'
import { BrowserAgent } from './agent.js'
import { type BrowserOption, BrowserOptionClass } from './option.js'

const BROWSER_DATA_PATH = '/tmp/agb_browser_data'
const INIT_MS = 60_000

/** What is needed of a page of Playwright. */
interface ScreenshotPage {
  screenshot(options: Record<string, unknown>): Promise<Uint8Array>
}

/**
 * The browser of a session, spoken to through the DevTools protocol or by its agent.
 *
 * @example
 * ```ts
 * if (await session.browser.initialize({ useStealth: true })) {
 *   const browser = await chromium.connectOverCDP(await session.browser.getEndpointUrl())
 * }
 * ```
 */
export class Browser<Throws extends boolean = false> extends BaseService<Throws> {
  /** @internal */
  protected override get errorClass() {
    return BrowserError
  }
  /** Acts in pages as it is told in words. */
  readonly agent: BrowserAgent<Throws>
  #option: BrowserOptionClass | null = null
  #endpointUrl = ''

  /** @param session is what the browser belongs to. */
  constructor(session: SessionLike) {
    super(session)
    this.agent = new BrowserAgent(session, this)
  }

  /** With what it was started; `null` if it was not. @example `session.browser.getOption()?.userAgent` */
  getOption(): BrowserOptionClass | null {
    return this.#option
  }

  /** Whether it was started. @example `if (!session.browser.isInitialized()) await session.browser.initialize({})` */
  isInitialized(): boolean {
    return this.#option !== null
  }

  /** Starts it; whether that was done. The log says why not. @example `await session.browser.initialize({})` */
  async initialize(option: BrowserOptionClass | BrowserOption, options: CallOptions = {}): Promise<boolean> {
    if (this.isInitialized()) return true
    const work = async (): Promise<boolean> => {
      const checked = option instanceof BrowserOptionClass ? option : new BrowserOptionClass(option)
      const parameters = {
        sessionId: this.session.getSessionId(),
        persistentPath: BROWSER_DATA_PATH,
        browserOption: JSON.stringify(checked.toMap()),
      }
      const limits = { timeoutMs: INIT_MS, ...options }
      const { data, requestId } = await this.session.getClient().initBrowser(parameters, limits)
      if (!Number.isInteger(Number(objectOf(data).port ?? Number.NaN))) {
        throw new BrowserError('Browser initialization failed: no port in the answer', { requestId })
      }
      this.#option = checked
      return true
    }
    return orElse(this.throwOnError, options, work, ({ message }) => {
      logWarn('Browser initialization failed:', message)
      return false
    })
  }

  /** The same as `initialize`. @example `await session.browser.initializeAsync({})` */
  initializeAsync(option: BrowserOptionClass | BrowserOption, options?: CallOptions): Promise<boolean> {
    return this.initialize(option, options)
  }

  /** Closes it. @example `await session.browser.destroy()` */
  async destroy(options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    const done = await this.attempt<BoolResult>(options, async () => {
      const { requestId } = await this.tool('stopChrome', {}, options)
      return { requestId, success: true, data: true }
    })
    if (done.success) {
      this.#option = null
      this.#endpointUrl = ''
    }
    return done
  }

  /**
   * Takes a picture of a page of Playwright.
   *
   * @param page is the page.
   * @param options are those of `page.screenshot`.
   *
   * @example
   * ```ts
   * const png = await session.browser.screenshot(page, true)
   * ```
   */
  async screenshot(
    page: unknown,
    fullPage = false,
    options: Record<string, unknown> = {},
  ): Promise<Uint8Array> {
    if (!this.isInitialized())
      throw new BrowserError('Browser must be initialized before calling screenshot.')
    if (typeof (page as ScreenshotPage | null)?.screenshot !== 'function') {
      throw new InvalidArgumentError('`page` must be a page of Playwright')
    }
    const preset = { animations: 'disabled', caret: 'hide', scale: 'css', timeout: 60_000, type: 'png' }
    try {
      return await (page as ScreenshotPage).screenshot({ ...preset, fullPage, ...options })
    } catch (cause) {
      throw new BrowserError(`Failed to capture screenshot: ${asError(cause).message}`, { cause })
    }
  }

  /** Its DevTools endpoint. Throws a `BrowserError` if there is none. @example `await session.browser.getEndpointUrl()` */
  async getEndpointUrl(options?: CallOptions): Promise<string> {
    if (this.#endpointUrl !== '') return this.#endpointUrl
    let error: AGBError
    try {
      const { data } = await this.session
        .getClient()
        .getCdpLink({ sessionId: this.session.getSessionId() }, options)
      this.#endpointUrl = textOf(objectOf(data).url)
      if (this.#endpointUrl !== '') return this.#endpointUrl
      error = new BrowserError('No URL in response')
    } catch (thrown) {
      options?.signal?.throwIfAborted()
      error = asError(thrown)
    }
    throw new BrowserError(`Failed to get CDP link: ${error.message}`, { ...error.extra, cause: error })
  }
}
