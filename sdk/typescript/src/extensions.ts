/** Extensions of the browser, kept in a context. */

import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Client } from './client.js'
import { AGBError, InvalidArgumentError } from './errors.js'
import { listOf, objectOf, textOf } from './json.js'
import { begin, unless, within } from './limits.js'
import { logWarn } from './log.js'
import type { CallOptions } from './options.js'
import { orElse } from './outcome.js'

const FOLDER = '/tmp/extensions'
const LISTED_MAX = 100
const UPLOAD_MS = 120_000

/**
 * An extension.
 *
 * @example
 * ```ts
 * const extension = new Extension('ext_0123.zip', 'blocker.zip')
 * ```
 */
export class Extension {
  /** Its id, which is its file's name. */
  id: string
  /** Its name. */
  name: string
  /** When it was uploaded. */
  createdAt?: string

  constructor(id: string, name: string, createdAt?: string) {
    this.id = id
    this.name = name
    if (createdAt !== undefined) this.createdAt = createdAt
  }
}

/**
 * Extensions that the browser of a session loads.
 *
 * @example
 * ```ts
 * const browserContext = new BrowserContext(contextId, true, new ExtensionOption(extensionsId, [extension.id]))
 * ```
 */
export class ExtensionOption {
  /** The context that holds them. */
  contextId: string
  /** Which of them. */
  extensionIds: string[]

  constructor(contextId: string, extensionIds: string[]) {
    if (!contextId?.trim()) throw new InvalidArgumentError('`contextId` cannot be empty')
    if (!extensionIds?.length) throw new InvalidArgumentError('`extensionIds` cannot be empty')
    this.contextId = contextId
    this.extensionIds = extensionIds
  }

  /** For a log. @example `String(option)` */
  toString(): string {
    return `ExtensionOption(contextId=${this.contextId}, extensionIds=${JSON.stringify(this.extensionIds)})`
  }

  /** For people. @example `console.log(option.toDisplayString())` */
  toDisplayString(): string {
    return `${this.extensionIds.length} extension(s) of context ${this.contextId}`
  }

  /** Whether it can be used. @example `if (!option.validate()) throw new Error('no extensions')` */
  validate(): boolean {
    return this.contextId.trim() !== '' && this.extensionIds.every((id) => id.trim() !== '')
  }
}

/** What an `ExtensionsService` needs of an `AGB`. */
export interface AGBLikeForExtensions {
  /** The client. */
  client: Client
}

/**
 * The extensions in a context. They are zip files. All methods throw, as they have no results of their own.
 *
 * @example
 * ```ts
 * const extensions = new ExtensionsService(agb, 'my-extensions')
 * const extension = await extensions.create('blocker.zip')
 * const option = extensions.createExtensionOption([extension.id])
 * ```
 */
export class ExtensionsService {
  readonly #client: Client
  readonly #ready: Promise<string>
  #contextId = ''

  /**
   * @param agb has the client.
   * @param contextId is the name of the context, which is made if it is not there.
   */
  constructor(agb: AGBLikeForExtensions, contextId = '') {
    this.#client = agb.client
    const name = contextId || `extensions-${Math.floor(Date.now() / 1000)}`
    this.#ready = this.#client.getContext({ name, allowCreate: true }).then(({ data }) => {
      this.#contextId = textOf(objectOf(data).id)
      return this.#contextId
    })
    // Each method waits for it and says what went wrong; a rejection that nobody hears would end the process.
    this.#ready.catch(() => undefined)
  }

  /** The context's id; empty until the first method is done. */
  get contextId(): string {
    return this.#contextId
  }

  /** The extensions there are. @example `const all = await extensions.list()` */
  async list(options?: CallOptions): Promise<Extension[]> {
    const limits = begin(options)
    const contextId = await this.#context(limits)
    const parameters = { contextId, parentFolderPath: FOLDER, pageNumber: 1, pageSize: LISTED_MAX }
    const { data } = await this.#client.describeContextFiles(parameters, limits)
    return listOf(data)
      .map(objectOf)
      .map((file) => {
        const name = textOf(file.fileName)
        return new Extension(name, name, textOf(file.gmtCreate) || undefined)
      })
  }

  /** Uploads an extension. @example `const extension = await extensions.create('blocker.zip')` */
  async create(localPath: string, options?: CallOptions): Promise<Extension> {
    const id = `ext_${randomBytes(16).toString('hex')}.zip`
    await this.#put(id, localPath, begin(options))
    return new Extension(id, basename(localPath))
  }

  /** Replaces an extension. @example `await extensions.update(extension.id, 'blocker-2.zip')` */
  async update(extensionId: string, newLocalPath: string, options?: CallOptions): Promise<Extension> {
    const limits = begin(options)
    const all = await this.list(limits)
    if (!all.some(({ id }) => id === extensionId)) {
      throw new InvalidArgumentError(
        `\`extensionId\` is ${JSON.stringify(extensionId)}, which is not in the context`,
      )
    }
    await this.#put(extensionId, newLocalPath, limits)
    return new Extension(extensionId, basename(newLocalPath))
  }

  /** Deletes the context with all extensions; whether that was done. @example `await extensions.cleanup()` */
  async cleanup(options?: CallOptions): Promise<boolean> {
    return this.#done('the extensions', options, async (limits) => {
      await this.#client.deleteContext({ id: await this.#context(limits) }, limits)
    })
  }

  /** Deletes an extension; whether that was done. @example `await extensions.delete(extension.id)` */
  async delete(extensionId: string, options?: CallOptions): Promise<boolean> {
    return this.#done(extensionId, options, async (limits) => {
      const contextId = await this.#context(limits)
      const parameters = { contextId, filePath: `${FOLDER}/${extensionId}` }
      await this.#client.deleteContextFile(parameters, limits)
    })
  }

  /** What a `BrowserContext` takes. @example `extensions.createExtensionOption([extension.id])` */
  createExtensionOption(extensionIds: string[]): ExtensionOption {
    if (this.#contextId === '')
      throw new AGBError('the extensions are not ready; wait for `list` or `create` first')
    return new ExtensionOption(this.#contextId, extensionIds)
  }

  /** The context's id, once it is known. */
  #context(limits: CallOptions): Promise<string> {
    const what = 'finding the context of the extensions'
    return within(what, limits, this.#client.http.timeoutMs, (signal) => unless(signal, this.#ready))
  }

  #done(
    what: string,
    options: CallOptions | undefined,
    work: (limits: CallOptions) => Promise<void>,
  ): Promise<boolean> {
    const done = () => work(begin(options)).then(() => true)
    return orElse(this.#client.throwOnError, options, done, ({ message }) => {
      logWarn(`could not delete ${what}:`, message)
      return false
    })
  }

  async #put(id: string, localPath: string, limits: CallOptions): Promise<void> {
    if (!localPath.toLowerCase().endsWith('.zip')) {
      throw new InvalidArgumentError(`\`localPath\` is ${JSON.stringify(localPath)}; allowed: a .zip file`)
    }
    const body = await readFile(localPath).catch((cause: unknown) => {
      throw new InvalidArgumentError(`Extension file not found: ${localPath}`, { cause })
    })
    const parameters = { contextId: await this.#context(limits), filePath: `${FOLDER}/${id}` }
    const { data } = await this.#client.getContextFileUploadUrl(parameters, limits)
    const { statusCode } = await this.#client.http.send({
      timeoutMs: UPLOAD_MS,
      ...limits,
      method: 'PUT',
      url: textOf(objectOf(data).url),
      // The URL has a place for the whole file, so a second one replaces the first.
      idempotent: true,
      body,
    })
    if (statusCode < 200 || statusCode > 299)
      throw new AGBError(`the upload failed with HTTP status ${statusCode}`)
  }
}
