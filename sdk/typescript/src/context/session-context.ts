/** The contexts of one session, and the way of their files. */

import type { Client } from '../client.js'
import { AGBError, APIError, InvalidArgumentError, messageOf } from '../errors.js'
import { isObject, numberOf, objectOf, parseJson, textOf } from '../json.js'
import { begin, isEnd, pause } from '../limits.js'
import { tell } from '../listener.js'
import { logWarn } from '../log.js'
import type { CallOptions } from '../options.js'
import type { Outcome } from '../outcome.js'
import { BaseService } from '../service.js'
import type { ContextInfoResult, ContextStatusData, ContextSyncResult } from './result.js'

/**
 * The contexts that are mounted in a session.
 *
 * @example
 * ```ts
 * await session.context.sync()
 * const { items } = await session.context.info()
 * ```
 */
export class ContextManager<Throws extends boolean = false> extends BaseService<Throws> {
  /** How far files have come. @example `const { items } = await session.context.info(contextId, '/home/user/data')` */
  info(
    contextId?: string,
    path?: string,
    taskType?: string,
    options?: CallOptions,
  ): Promise<Outcome<ContextInfoResult, Throws>> {
    return this.attempt<ContextInfoResult>(
      options,
      async () => ({ success: true, ...(await this.#status(contextId, path, taskType, options)) }),
      { items: [] },
    )
  }

  /**
   * Moves files and waits until all have come through.
   *
   * @param mode is `upload`, the default, or `download`.
   * @param maxRetries is how often is looked.
   * @param retryInterval is milliseconds between two looks.
   * @param callback hears the end; the call then resolves at once, when the files begin to move.
   *
   * @example
   * ```ts
   * const { success } = await session.context.sync(contextId, '/home/user/data', 'upload')
   * ```
   */
  sync(
    contextId?: string,
    path?: string,
    mode?: string,
    maxRetries = 150,
    retryInterval = 1500,
    callback?: (success: boolean) => void,
    options?: CallOptions,
  ): Promise<Outcome<ContextSyncResult, Throws>> {
    return this.attempt<ContextSyncResult>(options, async () => {
      if (Boolean(contextId) !== Boolean(path)) {
        throw new InvalidArgumentError('`contextId` and `path` are needed together, or neither of them')
      }
      const sessionId = this.session.getSessionId()
      const parameters = { sessionId, contextId, path, mode: mode || undefined }
      const limits = begin(options)
      const { requestId } = await this.session.getClient().syncContext(parameters, limits)
      const arrived = this.#arrived(contextId, path, maxRetries, retryInterval, limits)
      if (callback !== undefined) {
        arrived.then(
          () => tell(callback, true),
          () => tell(callback, false),
        )
        return { requestId, success: true }
      }
      await arrived
      return { requestId, success: true }
    })
  }

  async #arrived(
    contextId: string | undefined,
    path: string | undefined,
    maxRetries: number,
    retryInterval: number,
    limits: CallOptions,
  ): Promise<void> {
    for (let tries = 0; tries < maxRetries; tries += 1) {
      const { items, requestId } = await this.#status(contextId, path, undefined, limits)
      const moving = items.filter(({ taskType }) => taskType === 'upload' || taskType === 'download')
      if (moving.every(isOver)) {
        const failed = moving.find(({ status }) => status === 'Failed')
        if (failed === undefined) return
        const why = failed.errorMessage || 'no reason was given'
        throw new AGBError(`${failed.taskType} of \`${failed.path}\` failed: ${why}`, { requestId })
      }
      await pause(retryInterval, limits)
    }
    throw new AGBError(`files were still moving after ${maxRetries} looks, ${retryInterval} ms apart`)
  }

  #status(contextId?: string, path?: string, taskType?: string, options?: CallOptions) {
    const parameters = {
      sessionId: this.session.getSessionId(),
      contextId: contextId || undefined,
      path: path || undefined,
      taskType: taskType || undefined,
    }
    return statusOf(this.session.getClient(), parameters, options)
  }
}

function isOver({ status }: ContextStatusData): boolean {
  return status === 'Success' || status === 'Failed'
}

async function statusOf(
  client: Client,
  parameters: Parameters<Client['getContextInfo']>[0],
  options: CallOptions | undefined,
): Promise<{ requestId: string; items: ContextStatusData[] }> {
  const { requestId, data } = await client.getContextInfo(parameters, options)
  return { requestId, items: readStatus(objectOf(data).contextStatus, requestId) }
}

/** JSON text of blocks, of which those of the type `data` hold JSON text of items. */
export function readStatus(value: unknown, requestId = ''): ContextStatusData[] {
  if (value === undefined || value === null || value === '') return []
  const list = (what: unknown): unknown[] => {
    const read = typeof what === 'string' ? parseJson(what) : what
    if (Array.isArray(read)) return read
    throw new APIError('the status of the contexts cannot be read', 200, { requestId })
  }
  return list(value)
    .filter(isObject)
    .filter(({ type }) => type === 'data')
    .flatMap(({ data }) => list(data))
    .filter(isObject)
    .map((item) => ({
      contextId: textOf(item.contextId),
      path: textOf(item.path),
      errorMessage: textOf(item.errorMessage),
      status: textOf(item.status),
      startTime: numberOf(item.startTime),
      finishTime: numberOf(item.finishTime),
      taskType: textOf(item.taskType),
    }))
}

/** How often, and after how many milliseconds, is looked whether a new session's contexts are there. */
const [LOOKS, LOOK_MS] = [150, 2000]

/**
 * Waits until the contexts of a new session are there. What fails is said in the log and by `info`; only a limit of the
 * call is thrown.
 */
export async function contextsArrived(client: Client, sessionId: string, limits: CallOptions): Promise<void> {
  for (let looks = 0; looks < LOOKS; looks += 1) {
    const found = await statusOf(client, { sessionId }, limits).catch((error: unknown) => {
      if (isEnd(error, limits)) throw error
      logWarn(`it is not known whether the contexts of ${sessionId} are there:`, messageOf(error))
    })
    if (found === undefined) return
    const { items } = found
    if (items.every(isOver)) {
      for (const { path, errorMessage } of items.filter(({ status }) => status === 'Failed')) {
        logWarn(`a context did not come to ${path}:`, errorMessage)
      }
      return
    }
    await pause(LOOK_MS, limits)
  }
  logWarn(`the contexts of ${sessionId} were still coming after ${(LOOKS * LOOK_MS) / 1000} s`)
}
