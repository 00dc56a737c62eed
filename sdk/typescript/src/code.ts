/** Code that runs inside a session and keeps its variables there. */

import { randomBytes } from 'node:crypto'
import { emptyRun, executionResult, isMain, readRun } from './code-result.js'
import { asError, CodeError, InvalidArgumentError } from './errors.js'
import { isObject, type JsonObject, numberOf, objectOf, present, textOf } from './json.js'
import { tell } from './listener.js'
import type { CallOptions } from './options.js'
import type { Outcome } from './outcome.js'
import type { EnhancedCodeExecutionResult, ExecutionError, ExecutionResult } from './results.js'
import { BaseService } from './service.js'
import { patience, serverOf } from './tool-call.js'

const RUN_CODE = 'run_code'

const ALIASES: Readonly<Record<string, string>> = {
  py: 'python',
  python3: 'python',
  js: 'javascript',
  node: 'javascript',
  nodejs: 'javascript',
  ts: 'typescript',
  sh: 'bash',
}

/** Options of `Code.run`. */
export interface RunOptions extends CallOptions {
  /** Whether output is heard while the code runs. */
  streamBeta?: boolean
  /** Hears standard output, with `streamBeta`. */
  onStdout?: (chunk: string) => void
  /** Hears standard error, with `streamBeta`. */
  onStderr?: (chunk: string) => void
  /**
   * Hears the exception, or why there was no run, with `streamBeta`. An exception has the members of an `ExecutionError`,
   * and `code`, `message` and `traceId` as the session tells them.
   */
  onError?: (err: unknown) => void
}

/** Options of `Code.stream`. */
export interface StreamOptions extends CallOptions {
  /** Seconds after which the code is interrupted; 60 if absent. */
  timeoutS?: number
}

/** What happens in a run, as it happens. `end` comes last, with everything. */
export type CodeEvent =
  | {
      /** Something was written. */
      type: 'stdout' | 'stderr'
      /** What. */
      text: string
    }
  | {
      /** Something was shown. */
      type: 'result'
      /** What. */
      result: ExecutionResult
    }
  | {
      /** An exception ended the code. */
      type: 'error'
      /** Which. */
      error: ExecutionError
    }
  | {
      /** The run is over. */
      type: 'end'
      /** All of it. */
      result: EnhancedCodeExecutionResult
    }

/**
 * Runs code. Each language keeps its variables from run to run.
 *
 * @example
 * ```ts
 * await session.code.run('x = 6 * 7', 'python')
 * const run = await session.code.run('x', 'python')
 * console.log(run.results[0]?.text) // 42
 * ```
 */
export class Code<Throws extends boolean = false> extends BaseService<Throws> {
  /** @internal */
  protected override get errorClass() {
    return CodeError
  }

  /**
   * Runs code and gives what it wrote, showed and raised. A run that is streamed is interrupted when its signal aborts;
   * otherwise an abort only ends the waiting.
   *
   * @param language is `python`, `javascript`, `typescript`, `java`, `r` or `bash`.
   * @param timeoutS is seconds after which the code is interrupted.
   *
   * @example
   * ```ts
   * const run = await session.code.run('print(1)', 'python', 60, { streamBeta: true, onStdout: console.log })
   * if (!run.success) console.error(run.error?.name, run.errorMessage)
   * ```
   */
  run(
    code: string,
    language: string,
    timeoutS = 60,
    options: RunOptions = {},
  ): Promise<Outcome<EnhancedCodeExecutionResult, Throws>> {
    return this.attempt<EnhancedCodeExecutionResult>(
      options,
      async () => {
        const run = options.streamBeta
          ? await this.#heard(code, language, timeoutS, options)
          : await this.#waited(code, language, timeoutS, options)
        if (this.throwOnError && !run.success) {
          const extra = { tool: RUN_CODE, requestId: run.requestId, result: run }
          throw new CodeError(run.errorMessage || 'the run failed and did not say why', extra)
        }
        return run
      },
      { executionTime: 0, logs: { stdout: [], stderr: [] }, results: [] },
    )
  }

  /**
   * Runs code and tells what happens while it happens. Leaving the loop, or aborting it, interrupts the code inside; its
   * variables stay. What keeps the run from happening is thrown, an exception of the code is an event.
   *
   * @example
   * ```ts
   * for await (const event of session.code.stream('for n in range(3): print(n)', 'python')) {
   *   if (event.type === 'stdout') process.stdout.write(event.text)
   *   if (event.type === 'end') console.log(event.result.success)
   * }
   * ```
   */
  async *stream(
    code: string,
    language: string,
    options: StreamOptions = {},
  ): AsyncGenerator<CodeEvent, void, undefined> {
    const { signal, timeoutS = 60 } = options
    const stream = this.session._getWsClient?.()
    if (stream === undefined) throw new InvalidArgumentError('this session has no stream')
    const target = serverOf(this.session.toolList, RUN_CODE) ?? 'wuying_codespace'
    const params = { language: canonical(language), timeoutS, code }
    const id = randomBytes(16).toString('hex')
    const run = { ...emptyRun(), requestId: id }
    const timeoutMs = options.timeoutMs ?? patience(this.session.getClient(), timeoutS * 1000)
    const limits = present<CallOptions>({ signal, timeoutMs })
    try {
      const ask = { method: RUN_CODE, mode: 'stream', params }
      for await (const data of stream.invoke(id, target, ask, limits)) {
        const event = data.phase === 'end' ? ended(run, data) : happened(run, data)
        if (event !== undefined) yield event
      }
    } catch (error) {
      signal?.throwIfAborted()
      throw this.translate(asError(error))
    }
  }

  async #waited(code: string, language: string, timeoutS: number, options: CallOptions) {
    const args = { code, language: canonical(language), timeout_s: timeoutS }
    const limits = present<CallOptions>({ signal: options.signal, timeoutMs: options.timeoutMs })
    const { text, requestId } = await this.tool(RUN_CODE, args, limits)
    return readRun(text, requestId)
  }

  async #heard(code: string, language: string, timeoutS: number, options: RunOptions) {
    let run = emptyRun()
    try {
      for await (const event of this.stream(code, language, { ...options, timeoutS })) {
        if (event.type === 'stdout') tell(options.onStdout, event.text)
        else if (event.type === 'stderr') tell(options.onStderr, event.text)
        else if (event.type === 'error') tell(options.onError, event.error)
        else if (event.type === 'end') run = event.result
      }
    } catch (error) {
      if (!options.signal?.aborted) tell(options.onError, error)
      throw error
    }
    return run
  }
}

function canonical(language: string): string {
  const name = String(language ?? '')
    .trim()
    .toLowerCase()
  return ALIASES[name] ?? name
}

/** Takes an event into the run. */
function happened(run: EnhancedCodeExecutionResult, data: JsonObject): CodeEvent | undefined {
  const text = textOf(data.chunk)
  switch (data.eventType) {
    case 'stdout':
      run.logs.stdout.push(text)
      return { type: 'stdout', text }
    case 'stderr':
      run.logs.stderr.push(text)
      return { type: 'stderr', text }
    case 'result': {
      const shown = objectOf(data.result)
      const result = isObject(data.result)
        ? executionResult(objectOf(shown.mime), isMain(shown))
        : { text: String(data.result), isMainResult: false }
      run.results.push(result)
      return { type: 'result', result }
    }
    case 'error': {
      run.error = exception(data.error)
      return { type: 'error', error: { ...objectOf(data.error), ...run.error } }
    }
    default:
      // Kinds of events that a later server has.
      return undefined
  }
}

function exception(error: unknown): ExecutionError {
  const told = objectOf(error)
  const traceId = textOf(told.traceId)
  return {
    name: textOf(told.code) || 'ExecutionError',
    value: textOf(told.message) || textOf(told.error) || textOf(error),
    traceback: textOf(told.traceback) || (traceId && `traceId=${traceId}`),
  }
}

function ended(run: EnhancedCodeExecutionResult, data: JsonObject): CodeEvent {
  const why = textOf(data.executionError)
  if (why && run.error === undefined) run.error = { name: 'ExecutionError', value: why, traceback: '' }
  if (typeof data.executionCount === 'number') run.executionCount = data.executionCount
  run.executionTime = numberOf(data.executionTime)
  run.success = run.error === undefined && data.status !== 'failed'
  run.errorMessage = run.success ? '' : why || run.error?.value || ''
  return { type: 'end', result: run }
}
