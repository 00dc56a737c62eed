/** Contexts: storage that outlives sessions. */

import type { Client } from '../client.js'
import { APIError, ClearanceTimeoutError, InvalidArgumentError } from '../errors.js'
import { isObject, type JsonObject, listOf, objectOf, present, textOf } from '../json.js'
import { begin, pause } from '../limits.js'
import type { CallOptions } from '../options.js'
import { failed, type Outcome, settle } from '../outcome.js'
import type { OperationResult } from '../results.js'
import type {
  ClearContextResult,
  ContextData,
  ContextFileListResult,
  ContextListParams,
  ContextListResult,
  ContextResult,
  FileUrlResult,
} from './result.js'

/**
 * A context.
 *
 * @example
 * ```ts
 * await agb.context.update(new Context(id, 'another name'))
 * ```
 */
export class Context implements ContextData {
  /** Its id. */
  id: string
  /** Its name. */
  name: string
  /** When it was made. */
  createdAt?: string
  /** When it was last used. */
  lastUsedAt?: string

  constructor(id: string, name: string, createdAt?: string, lastUsedAt?: string) {
    this.id = id
    this.name = name
    if (createdAt !== undefined) this.createdAt = createdAt
    if (lastUsedAt !== undefined) this.lastUsedAt = lastUsedAt
  }
}

/**
 * The contexts of an API key.
 *
 * @example
 * ```ts
 * const { context } = await agb.context.create('data')
 * ```
 */
export class ContextService<Throws extends boolean = false> {
  readonly #client: Client

  /** @param owner has the client. */
  constructor(owner: { client: Client }) {
    this.#client = owner.client
  }

  /** The contexts, last used first. @example `const { contexts } = await agb.context.list({ maxResults: 50 })` */
  list(params?: ContextListParams, options?: CallOptions): Promise<Outcome<ContextListResult, Throws>> {
    return this.#attempt<ContextListResult>(
      options,
      async () => {
        const parameters = { maxResults: params?.maxResults ?? 10, nextToken: params?.nextToken || undefined }
        const { requestId, data, body } = await this.#client.listContexts(parameters, options)
        return present<ContextListResult>({
          requestId,
          success: true,
          contexts: listOf(data).map(objectOf).map(contextOf),
          nextToken: textOf(body.nextToken) || undefined,
          maxResults: number(body.maxResults),
          totalCount: number(body.totalCount) ?? number(body.count),
        })
      },
      { contexts: [] },
    )
  }

  /**
   * A context by its name or its id.
   *
   * @param create makes it if it is not there.
   *
   * @example
   * ```ts
   * const { context } = await agb.context.get('data', true)
   * ```
   */
  get(
    name?: string,
    create = false,
    loginRegionId?: string,
    contextId?: string,
    options?: CallOptions,
  ): Promise<Outcome<ContextResult, Throws>> {
    return this.#attempt<ContextResult>(options, async () => {
      const [byName, byId] = [name?.trim() || undefined, contextId?.trim() || undefined]
      if (!byName && !byId) throw new InvalidArgumentError('Either `name` or `contextId` is needed')
      if (create && byId) throw new InvalidArgumentError('`contextId` cannot be used with `create`')
      const parameters = {
        name: byName,
        id: byId,
        allowCreate: create,
        loginRegionId: loginRegionId || undefined,
      }
      const { requestId, data } = await this.#client.getContext(parameters, options)
      if (!isObject(data)) throw new APIError('No context data in response', 200, { requestId })
      return { requestId, success: true, context: contextOf(data) }
    })
  }

  /** A context of this name, made if it is not there. @example `const { context } = await agb.context.create('data')` */
  create(name: string, options?: CallOptions): Promise<Outcome<ContextResult, Throws>> {
    return this.get(name, true, undefined, undefined, options)
  }

  /** Renames a context. @example `await agb.context.update(new Context(id, 'new name'))` */
  update(context: Context, options?: CallOptions): Promise<Outcome<OperationResult, Throws>> {
    return this.#attempt<OperationResult>(options, async () => {
      const id = needed('context.id', context?.id)
      const name = needed('context.name', context?.name)
      const { requestId } = await this.#client.modifyContext({ id, name }, options)
      return { requestId, success: true, data: { context_id: id } }
    })
  }

  /** Deletes a context with its files. @example `await agb.context.delete(context)` */
  delete(context: Context, options?: CallOptions): Promise<Outcome<OperationResult, Throws>> {
    return this.#attempt<OperationResult>(options, async () => {
      const id = needed('context.id', context?.id)
      const { requestId } = await this.#client.deleteContext({ id }, options)
      return { requestId, success: true, data: { context_id: id } }
    })
  }

  /** A URL to read a file from. @example `const { url } = await agb.context.getFileDownloadUrl(id, '/data/a.txt')` */
  getFileDownloadUrl(
    contextId: string,
    filePath: string,
    options?: CallOptions,
  ): Promise<Outcome<FileUrlResult, Throws>> {
    return this.#url('getContextFileDownloadUrl', contextId, filePath, options)
  }

  /** A URL to PUT a file to. @example `const { url } = await agb.context.getFileUploadUrl(id, '/data/a.txt')` */
  getFileUploadUrl(
    contextId: string,
    filePath: string,
    options?: CallOptions,
  ): Promise<Outcome<FileUrlResult, Throws>> {
    return this.#url('getContextFileUploadUrl', contextId, filePath, options)
  }

  /** Deletes a file. @example `await agb.context.deleteFile(id, '/data/a.txt')` */
  deleteFile(
    contextId: string,
    filePath: string,
    options?: CallOptions,
  ): Promise<Outcome<OperationResult, Throws>> {
    return this.#attempt<OperationResult>(options, async () => {
      const parameters = { contextId: needed('contextId', contextId), filePath: needed('filePath', filePath) }
      const { requestId } = await this.#client.deleteContextFile(parameters, options)
      return { requestId, success: true, data: true }
    })
  }

  /** The files in a folder. @example `const { files } = await agb.context.listFiles(id, '/data')` */
  listFiles(
    contextId: string,
    parentFolderPath?: string,
    pageNumber = 1,
    pageSize = 50,
    options?: CallOptions,
  ): Promise<Outcome<ContextFileListResult, Throws>> {
    return this.#attempt<ContextFileListResult>(
      options,
      async () => {
        const parameters = {
          contextId: needed('contextId', contextId),
          parentFolderPath: parentFolderPath?.trim() || undefined,
          pageNumber,
          pageSize,
        }
        const { requestId, data, body } = await this.#client.describeContextFiles(parameters, options)
        const files = listOf(data).map(objectOf).map(fileOf)
        return present<ContextFileListResult>({ requestId, success: true, files, count: number(body.count) })
      },
      { files: [] },
    )
  }

  /** Begins to empty a context. @example `await agb.context.clearAsync(id)` */
  clearAsync(contextId: string, options?: CallOptions): Promise<Outcome<ClearContextResult, Throws>> {
    return this.#attempt<ClearContextResult>(options, () => this.#clear(contextId, options))
  }

  /** Whether a context is empty by now. @example `const { state } = await agb.context.getClearStatus(id)` */
  getClearStatus(contextId: string, options?: CallOptions): Promise<Outcome<ClearContextResult, Throws>> {
    return this.#attempt<ClearContextResult>(options, () => this.#clearStatus(contextId, options))
  }

  /**
   * Empties a context and waits for it. Throws `ClearanceTimeoutError` when that takes too long, also where results are
   * wanted.
   *
   * @param timeout is seconds.
   * @param pollInterval is seconds between two looks.
   *
   * @example
   * ```ts
   * await agb.context.clear(id, 120)
   * ```
   */
  async clear(
    contextId: string,
    timeout = 60,
    pollInterval = 2,
    options?: CallOptions,
  ): Promise<Outcome<ClearContextResult, Throws>> {
    const cleared = await this.#attempt<ClearContextResult>(options, async () => {
      const limits = begin(options)
      await this.#clear(contextId, limits)
      for (let polls = Math.floor(timeout / pollInterval); polls > 0; polls -= 1) {
        await pause(pollInterval * 1000, limits)
        const status = await this.#clearStatus(contextId, limits)
        if (status.state === 'available') return status
      }
      return { success: false, state: 'timeout' }
    })
    if (cleared.state === 'timeout') {
      throw new ClearanceTimeoutError(`clearing context \`${contextId}\` took longer than ${timeout} s`)
    }
    return cleared
  }

  /** What may be shown of it. @example `JSON.stringify(agb.context)` */
  toJSON(): Record<string, unknown> {
    return {}
  }

  async #clear(contextId: string, options: CallOptions | undefined): Promise<ClearContextResult> {
    const { requestId } = await this.#client.clearContext({ id: needed('contextId', contextId) }, options)
    return { requestId, success: true, state: 'clearing' }
  }

  async #clearStatus(contextId: string, options: CallOptions | undefined): Promise<ClearContextResult> {
    const parameters = { id: needed('contextId', contextId), allowCreate: false }
    const { requestId, data } = await this.#client.getContext(parameters, options)
    return { requestId, success: true, state: textOf(objectOf(data).state) || 'clearing' }
  }

  #url(
    method: 'getContextFileDownloadUrl' | 'getContextFileUploadUrl',
    contextId: string,
    filePath: string,
    options: CallOptions | undefined,
  ): Promise<Outcome<FileUrlResult, Throws>> {
    return this.#attempt<FileUrlResult>(options, async () => {
      const parameters = { contextId: needed('contextId', contextId), filePath: needed('filePath', filePath) }
      const { requestId, data } = await this.#client[method](parameters, options)
      const { url, expireTime } = objectOf(data)
      if (typeof url !== 'string') throw new APIError('No URL in response', 200, { requestId })
      return present<FileUrlResult>({ requestId, success: true, url, expireTime: number(expireTime) })
    })
  }

  #attempt<R extends { success: boolean }>(
    options: CallOptions | undefined,
    work: () => Promise<R>,
    rest: Partial<R> = {},
  ): Promise<Outcome<R, Throws>> {
    return settle<R, Throws>(this.#client.throwOnError, options, work, (error) => {
      return { ...rest, ...failed(error) } as unknown as R
    })
  }
}

function needed(field: string, value: unknown): string {
  const text = textOf(value).trim()
  if (text === '') throw new InvalidArgumentError(`\`${field}\` cannot be empty`)
  return text
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined
}

function contextOf(data: JsonObject): Context {
  const { id, name, createTime, lastUsedTime } = data
  return new Context(
    textOf(id),
    textOf(name),
    textOf(createTime) || undefined,
    textOf(lastUsedTime) || undefined,
  )
}

function fileOf(data: JsonObject): ContextFileListResult['files'][number] {
  return present<ContextFileListResult['files'][number]>({
    fileId: textOf(data.fileId) || undefined,
    name: textOf(data.fileName),
    path: textOf(data.filePath),
    type: textOf(data.fileType),
    createdTime: textOf(data.gmtCreate) || undefined,
    modifiedTime: textOf(data.gmtModified) || undefined,
    size: number(data.size),
    status: textOf(data.status) || undefined,
  })
}
