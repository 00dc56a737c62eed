/** What a session is made with. */

import type { BrowserFingerprintContext } from './browser/fingerprint.js'
import { InvalidArgumentError } from './errors.js'
import type { ExtensionOption } from './extensions.js'
import {
  ContextSync,
  newDeletePolicy,
  newSyncPolicy,
  newUploadPolicy,
  syncPolicyToDict,
} from './sync-policy.js'

const BROWSER_DATA_PATH = '/tmp/agb_browser_data'
const EXTENSIONS_PATH = '/tmp/extensions/'
const FINGERPRINT_PATH = '/tmp/agb_browser_fingerprint'

/**
 * What a browser keeps from session to session.
 *
 * @example
 * ```ts
 * const params = new CreateSessionParams({ imageId, browserContext: new BrowserContext(context.id) })
 * ```
 */
export class BrowserContext {
  /** The context with the browser's data. */
  contextId: string
  /** Whether it is uploaded when the session ends. */
  autoUpload: boolean
  /** Extensions that the browser loads. */
  extensionOption?: ExtensionOption
  /** The context with the browser's fingerprint. */
  fingerprintContext?: BrowserFingerprintContext
  /** Its id. */
  fingerprintContextId?: string
  /** How it comes into the session. */
  fingerprintContextSync?: ContextSync

  constructor(
    contextId: string,
    autoUpload = true,
    extensionOption?: ExtensionOption,
    fingerprintContext?: BrowserFingerprintContext,
  ) {
    this.contextId = contextId
    this.autoUpload = autoUpload
    if (extensionOption !== undefined) this.extensionOption = extensionOption
    if (fingerprintContext !== undefined) {
      this.fingerprintContext = fingerprintContext
      this.fingerprintContextId = fingerprintContext.fingerprintContextId
      this.fingerprintContextSync = new ContextSync(
        fingerprintContext.fingerprintContextId,
        FINGERPRINT_PATH,
        newSyncPolicy({ uploadPolicy: newUploadPolicy({ autoUpload: false }) }),
      )
    }
  }

  /** How the extensions come into the session. @example `browserContext.getExtensionContextSyncs()` */
  getExtensionContextSyncs(): ContextSync[] {
    if (this.extensionOption === undefined) return []
    const { contextId, extensionIds } = this.extensionOption
    const policy = newSyncPolicy({
      uploadPolicy: newUploadPolicy({ autoUpload: false }),
      deletePolicy: newDeletePolicy({ syncLocalFile: false }),
      bwList: { whiteLists: extensionIds.map((path) => ({ path, excludePaths: [] })) },
    })
    return [new ContextSync(contextId, EXTENSIONS_PATH, policy)]
  }

  /** How the fingerprint comes into the session. @example `browserContext.getFingerprintContextSync()` */
  getFingerprintContextSync(): ContextSync | undefined {
    return this.fingerprintContextSync
  }

  /** How all of it does. @internal */
  syncs(): ContextSync[] {
    const kept = ['/Local State', '/Default/Cookies', '/Default/Cookies-journal']
    const data = newSyncPolicy({
      uploadPolicy: newUploadPolicy({ autoUpload: this.autoUpload }),
      bwList: { whiteLists: kept.map((path) => ({ path, excludePaths: [] })) },
    })
    const fingerprint = this.getFingerprintContextSync()
    return [
      ...this.getExtensionContextSyncs(),
      ...(fingerprint ? [fingerprint] : []),
      new ContextSync(this.contextId, BROWSER_DATA_PATH, data),
    ]
  }
}

/** What a session is made with. */
export interface CreateSessionParamsOptions {
  /** By which the session is found with `AGB.list`. */
  labels?: Record<string, string>
  /** The image, such as `agb-code-space-1`. */
  imageId?: string
  /** A policy of the server. */
  policyId?: string
  /** Contexts that are mounted. */
  contextSync?: ContextSync[]
  /** What the browser keeps from session to session. */
  browserContext?: BrowserContext
  /** An older name of `policyId`, which goes before it. */
  mcpPolicyId?: string
  /** Seconds without use after which the session is released; the server's default if absent. */
  idleReleaseTimeout?: number
}

/**
 * What a session is made with.
 *
 * @example
 * ```ts
 * const params = new CreateSessionParams({ imageId: 'agb-code-space-1', labels: { project: 'demo' } })
 * const { session } = await agb.create(params)
 * ```
 */
export class CreateSessionParams implements CreateSessionParamsOptions {
  /** By which the session is found with `AGB.list`. */
  labels?: Record<string, string>
  /** The image. */
  imageId?: string
  /** A policy of the server. */
  policyId?: string
  /** Contexts that are mounted. */
  contextSync: ContextSync[]
  /** What the browser keeps from session to session. */
  browserContext?: BrowserContext
  /** An older name of `policyId`. */
  mcpPolicyId?: string
  /** Seconds without use after which the session is released. */
  idleReleaseTimeout?: number

  constructor(options: CreateSessionParamsOptions = {}) {
    const { contextSync, ...rest } = options
    this.contextSync = [...(contextSync ?? [])]
    Object.assign(this, rest)
  }
}

/** The request of a creation. */
export function creation(params: CreateSessionParamsOptions | null | undefined): {
  imageId: string
  body: Record<string, unknown>
} {
  if (params === null || params === undefined) {
    throw new InvalidArgumentError('params is required; pass new CreateSessionParams({ imageId })')
  }
  const imageId = params.imageId?.trim() ?? ''
  if (imageId === '') throw new InvalidArgumentError('`imageId` cannot be empty')
  const syncs = [...(params.contextSync ?? []), ...(params.browserContext?.syncs() ?? [])]
  const { labels, idleReleaseTimeout: timeout } = params
  const policyId = params.policyId || params.mcpPolicyId
  return {
    imageId,
    body: {
      ...(labels && Object.keys(labels).length > 0 && { labels: JSON.stringify(labels) }),
      ...(policyId && { mcpPolicyId: policyId }),
      ...(timeout && { timeout }),
      ...(syncs.length > 0 && {
        persistenceDataList: syncs.map(({ contextId, path, policy }) => ({
          contextId,
          path,
          policy: JSON.stringify(syncPolicyToDict(policy ?? newSyncPolicy())),
        })),
      }),
    },
  }
}
