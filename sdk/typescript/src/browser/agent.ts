/** Acts in the pages of a session's browser as it is told in words. */

import { asError, BrowserError, TimeoutError } from '../errors.js'
import { isObject, type JsonObject, listOf, objectOf, parseJson, textOf, unwrapJson } from '../json.js'
import { begin, pause } from '../limits.js'
import type { CallOptions } from '../options.js'
import { orElse } from '../outcome.js'
import { BaseService } from '../service.js'
import type { SessionLike, ToolAnswer } from '../tool-call.js'

/** What `BrowserAgent.act` does. */
export interface ActOptions {
  /** What to do, in words. */
  action: string
  /** Seconds that it may take; 300 if absent. */
  timeout?: number
  /** Values for names in `action`. */
  variables?: Record<string, string>
  /** Whether it looks at pictures of the page. */
  useVision?: boolean
  /** Whether it looks into frames. */
  iframes?: boolean
  /** Milliseconds that the page gets to rest. */
  domSettleTimeoutMs?: number
}

/** What came of it. */
export interface ActResult {
  /** Whether it was done. */
  success: boolean
  /** What was done, or why not. */
  message: string
}

/** What `BrowserAgent.observe` looks for. */
export interface ObserveOptions {
  /** What to look for, in words. */
  instruction: string
  /** Whether it looks at pictures of the page. */
  useVision?: boolean
  /** The part of the page that it looks at. */
  selector?: string
  /** Seconds that it may take; 300 if absent. */
  timeout?: number
  /** Whether it looks into frames. */
  iframes?: boolean
  /** Milliseconds that the page gets to rest. */
  domSettleTimeoutMs?: number
}

/** Something that was found, and what can be done with it. */
export interface ObserveResult {
  /** Where it is. */
  selector: string
  /** What it is. */
  description: string
  /** What can be done. */
  method: string
  /** With what. */
  arguments: Record<string, unknown>
}

/** Of `BrowserAgent.observe`. */
export interface ObserveResults {
  /** Whether something was found. */
  success: boolean
  /** What. */
  results: ObserveResult[]
}

/** What `BrowserAgent.extract` takes out of a page. */
export interface ExtractOptions {
  /** What, in words. */
  instruction: string
  /** JSON Schema of the result. */
  schema: Record<string, unknown>
  /** Whether it reads text only. */
  useTextExtract?: boolean
  /** The part of the page that it looks at. */
  selector?: string
  /** Whether it looks at pictures of the page. */
  useVision?: boolean
  /** Seconds that it may take; 300 if absent. */
  timeout?: number
  /** How many pages it goes through. */
  maxPage?: number
  /** Whether it looks into frames. */
  iframe?: boolean
  /** Milliseconds that the page gets to rest. */
  domSettleTimeoutMs?: number
}

/** What was taken out of a page. */
export interface ExtractResult<T = unknown> {
  /** Whether it was found. */
  success: boolean
  /** What. */
  data: T | null
}

/** What an agent needs of its browser. */
export interface BrowserLike {
  /** Whether it was started. */
  isInitialized(): boolean
}

const CALL_MS = 60_000
const TASK_S = 300
const ACT_LOOK_MS = 5000
const EXTRACT_LOOK_MS = 8000

/**
 * Acts in pages. All methods but `close` throw a `BrowserError` when the browser was not started.
 *
 * @example
 * ```ts
 * await session.browser.agent.navigate('https://example.com')
 * const { message } = await session.browser.agent.act({ action: 'click the first link' })
 * ```
 */
export class BrowserAgent<Throws extends boolean = false> extends BaseService<Throws> {
  readonly #browser: BrowserLike

  /** @param browser is the browser in which it acts. */
  constructor(session: SessionLike, browser: BrowserLike) {
    super(session)
    this.#browser = browser
  }

  /** Opens a page and says what came of it. @example `await session.browser.agent.navigate('https://example.com')` */
  navigate(url: string, options?: CallOptions): Promise<string> {
    return this.#said('navigate', 'Navigation', 'page_use_navigate', { url }, options)
  }

  /** A picture of a page as a data URL. @example `const url = await session.browser.agent.screenshot()` */
  screenshot(
    options: {
      fullPage?: boolean
      quality?: number
      clip?: { x: number; y: number; width: number; height: number }
      timeout?: number
      contextId?: number
      pageId?: string
    } & CallOptions = {},
  ): Promise<string> {
    const { fullPage = true, quality = 80, clip, timeout, contextId = 0, pageId, ...limits } = options
    const args = { context_id: contextId, page_id: pageId, full_page: fullPage, quality, clip, timeout }
    return this.#said('screenshot', 'Screenshot', 'page_use_screenshot', args, limits)
  }

  /** Ends the agent; whether that was done. @example `await session.browser.agent.close()` */
  async close(options?: CallOptions): Promise<boolean> {
    return (await this.#call('page_use_close_session', {}, options)) !== undefined
  }

  /** Does something, and waits for it. @example `await session.browser.agent.act({ action: 'log in' })` */
  async act(
    actionInput: ActOptions | ObserveResult,
    contextId = 0,
    pageId?: string,
    options?: CallOptions,
  ): Promise<ActResult> {
    this.#ready('act')
    const work = async (): Promise<ActResult> => {
      const args = actArguments(actionInput, contextId, pageId)
      const { text } = await this.#asked('page_use_act', args, options)
      return text ? { success: true, message: text } : { success: false, message: 'the page said nothing' }
    }
    return orElse(this.throwOnError, options, work, ({ message }) => ({ success: false, message }))
  }

  /** The same as a task of the session. @example `await session.browser.agent.actAsync({ action: 'log in' })` */
  async actAsync(
    actionInput: ActOptions | ObserveResult,
    contextId = 0,
    pageId?: string,
    options?: CallOptions,
  ): Promise<ActResult> {
    this.#ready('actAsync')
    const args = actArguments(actionInput, contextId, pageId)
    const limits = begin(options)
    const taskId = await this.#start('act', 'page_use_act_async', args, limits)
    const seconds = 'action' in actionInput ? actionInput.timeout : undefined
    return this.#poll('Act', 'page_use_get_act_result', taskId, ACT_LOOK_MS, seconds, limits, (text) => {
      const { is_done: isDone, success, steps } = objectOf(parseJson(text))
      if (!isDone) return undefined
      const told = typeof steps === 'string' ? steps : listOf(steps).length > 0 ? JSON.stringify(steps) : ''
      return { success: Boolean(success), message: told || 'No actions have been executed.' }
    })
  }

  /** Looks for something. @example `const { results } = await session.browser.agent.observe({ instruction: 'the menu' })` */
  async observe(
    options: ObserveOptions,
    contextId = 0,
    pageId?: string,
    limits?: CallOptions,
  ): Promise<ObserveResults> {
    this.#ready('observe')
    const answer = await this.#call('page_use_observe', observeArguments(options, contextId, pageId), limits)
    return answer?.text ? { success: true, results: observed(answer.text) } : { success: false, results: [] }
  }

  /** The same as a task of the session. @example `await session.browser.agent.observeAsync({ instruction: 'the menu' })` */
  async observeAsync(
    options: ObserveOptions,
    contextId = 0,
    pageId?: string,
    limits?: CallOptions,
  ): Promise<ObserveResults> {
    this.#ready('observeAsync')
    const begun = begin(limits)
    const args = observeArguments(options, contextId, pageId)
    const taskId = await this.#start('observe', 'page_use_observe_async', args, begun)
    const tool = 'page_use_get_observe_result'
    return this.#poll('Observe', tool, taskId, ACT_LOOK_MS, options.timeout, begun, (text) =>
      text ? { success: true, results: observed(text) } : undefined,
    )
  }

  /** Takes data out of a page. @example `await session.browser.agent.extract<Price>({ instruction: 'the price', schema })` */
  async extract<T = unknown>(
    options: ExtractOptions,
    contextId = 0,
    pageId?: string,
    limits?: CallOptions,
  ): Promise<ExtractResult<T>> {
    this.#ready('extract')
    const answer = await this.#call('page_use_extract', extractArguments(options, contextId, pageId), limits)
    return answer?.text
      ? { success: true, data: parseJson(answer.text) as T }
      : { success: false, data: null }
  }

  /** The same as a task of the session. @example `await session.browser.agent.extractAsync({ instruction, schema })` */
  async extractAsync<T = unknown>(
    options: ExtractOptions,
    contextId = 0,
    pageId?: string,
    limits?: CallOptions,
  ): Promise<ExtractResult<T>> {
    this.#ready('extractAsync')
    const begun = begin(limits)
    const args = extractArguments(options, contextId, pageId)
    const taskId = await this.#start('extract', 'page_use_extract_async', args, begun)
    const tool = 'page_use_get_extract_result'
    return this.#poll('Extract', tool, taskId, EXTRACT_LOOK_MS, options.timeout, begun, (text) =>
      text ? { success: true, data: parseJson(text) as T } : undefined,
    )
  }

  #ready(method: string): void {
    if (!this.#browser.isInitialized()) {
      throw new BrowserError(`Browser must be initialized before calling ${method}.`)
    }
  }

  #asked(tool: string, args: JsonObject, options: CallOptions | undefined): Promise<ToolAnswer> {
    const sent = Object.fromEntries(
      Object.entries(args).filter(([, value]) => value !== undefined && value !== null),
    )
    return this.tool(tool, sent, { timeoutMs: CALL_MS, ...options })
  }

  /** The answer; `undefined` after a failure, where results are wanted. */
  #call(tool: string, args: JsonObject, options: CallOptions | undefined): Promise<ToolAnswer | undefined> {
    const work = () => this.#asked(tool, args, options)
    return orElse<ToolAnswer | undefined>(this.throwOnError, options, work, () => undefined)
  }

  /** The text of a tool; where results are wanted, a failure is a text, too. */
  async #said(
    method: string,
    what: string,
    tool: string,
    args: JsonObject,
    options: CallOptions | undefined,
  ): Promise<string> {
    this.#ready(method)
    const work = async () => (await this.#asked(tool, args, options)).text
    return orElse(this.throwOnError, options, work, ({ message }) => `${what} failed: ${message}`)
  }

  async #start(what: string, tool: string, args: JsonObject, limits: CallOptions): Promise<string> {
    let cause: unknown
    try {
      const taskId = textOf(objectOf(parseJson((await this.#asked(tool, args, limits)).text)).task_id)
      if (taskId !== '') return taskId
    } catch (error) {
      limits.signal?.throwIfAborted()
      cause = error
    }
    const why = cause === undefined ? 'no `task_id` in the answer' : asError(cause).message
    throw new BrowserError(`Failed to start ${what} task: ${why}`, { cause })
  }

  async #poll<T>(
    what: string,
    tool: string,
    taskId: string,
    lookMs: number,
    seconds: number | undefined,
    limits: CallOptions,
    read: (text: string) => T | undefined,
  ): Promise<T> {
    const { timeoutMs = (seconds ?? TASK_S) * 1000, since = performance.now(), ...aborted } = limits
    const deadline = since + timeoutMs
    while (performance.now() < deadline) {
      await pause(Math.min(lookMs, Math.max(deadline - performance.now(), 0)), aborted)
      // A task that is not done yet says so by an error.
      const answer = await this.#asked(tool, { task_id: taskId }, limits).catch(() => undefined)
      limits.signal?.throwIfAborted()
      const done = answer && read(answer.text)
      if (done !== undefined) return done
    }
    throw new TimeoutError(`${what} timed out: task ${taskId}`, { timeoutMs })
  }
}

function actArguments(
  input: ActOptions | ObserveResult,
  contextId: number,
  pageId: string | undefined,
): JsonObject {
  const page = { context_id: contextId, page_id: pageId }
  if (!('action' in input)) {
    const action = { method: input.method, arguments: unwrapJson(input.arguments) }
    return { ...page, action: JSON.stringify(action) }
  }
  return {
    ...page,
    action: input.action,
    variables: input.variables,
    timeout: input.timeout,
    iframes: input.iframes,
    dom_settle_timeout_ms: input.domSettleTimeoutMs,
    use_vision: input.useVision,
  }
}

function observeArguments(
  options: ObserveOptions,
  contextId: number,
  pageId: string | undefined,
): JsonObject {
  return {
    context_id: contextId,
    page_id: pageId,
    instruction: options.instruction,
    iframes: options.iframes,
    dom_settle_timeout_ms: options.domSettleTimeoutMs,
    use_vision: options.useVision,
    selector: options.selector,
  }
}

function extractArguments(
  options: ExtractOptions,
  contextId: number,
  pageId: string | undefined,
): JsonObject {
  return {
    context_id: contextId,
    page_id: pageId,
    instruction: options.instruction,
    field_schema: `schema: ${JSON.stringify(options.schema)}`,
    use_text_extract: options.useTextExtract,
    use_vision: options.useVision,
    selector: options.selector,
    iframe: options.iframe,
    dom_settle_timeout_ms: options.domSettleTimeoutMs,
    max_page: options.maxPage,
  }
}

function observed(text: string): ObserveResult[] {
  return listOf(parseJson(text))
    .filter(isObject)
    .map((item) => ({
      selector: textOf(item.selector),
      description: textOf(item.description),
      method: textOf(item.method),
      arguments: objectOf(unwrapJson(item.arguments)),
    }))
}
