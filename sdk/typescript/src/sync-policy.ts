/** How the files of a context move: the policies, their defaults, and their form on the wire. */

import { InvalidArgumentError } from './errors.js'

/** When files are uploaded. @example `newUploadPolicy({ uploadStrategy: UploadStrategy.UPLOAD_BEFORE_RESOURCE_RELEASE })` */
export enum UploadStrategy {
  /** When the session is released. */
  UPLOAD_BEFORE_RESOURCE_RELEASE = 'UploadBeforeResourceRelease',
}

/** When files are downloaded. @example `newDownloadPolicy({ downloadStrategy: DownloadStrategy.DOWNLOAD_ASYNC })` */
export enum DownloadStrategy {
  /** Beside the start of the session. */
  DOWNLOAD_ASYNC = 'DownloadAsync',
}

/** As what files are kept. @example `newUploadPolicy({ uploadMode: UploadMode.ARCHIVE })` */
export enum UploadMode {
  /** As they are. */
  FILE = 'File',
  /** As one archive. */
  ARCHIVE = 'Archive',
}

/** How long files are kept. @example `newRecyclePolicy({ lifecycle: Lifecycle.LIFECYCLE_30DAYS })` */
export enum Lifecycle {
  /** 1 day. */
  LIFECYCLE_1DAY = 'Lifecycle_1Day',
  /** 3 days. */
  LIFECYCLE_3DAYS = 'Lifecycle_3Days',
  /** 5 days. */
  LIFECYCLE_5DAYS = 'Lifecycle_5Days',
  /** 10 days. */
  LIFECYCLE_10DAYS = 'Lifecycle_10Days',
  /** 15 days. */
  LIFECYCLE_15DAYS = 'Lifecycle_15Days',
  /** 30 days. */
  LIFECYCLE_30DAYS = 'Lifecycle_30Days',
  /** 90 days. */
  LIFECYCLE_90DAYS = 'Lifecycle_90Days',
  /** 180 days. */
  LIFECYCLE_180DAYS = 'Lifecycle_180Days',
  /** 360 days. */
  LIFECYCLE_360DAYS = 'Lifecycle_360Days',
  /** For ever. */
  LIFECYCLE_FOREVER = 'Lifecycle_Forever',
}

/** How files get into the context. */
export interface UploadPolicy {
  /** Whether they are uploaded without being asked for. */
  autoUpload: boolean
  /** When. */
  uploadStrategy: UploadStrategy
  /** As what. */
  uploadMode: UploadMode
}

/** How files get into the session. */
export interface DownloadPolicy {
  /** Whether they are downloaded without being asked for. */
  autoDownload: boolean
  /** When. */
  downloadStrategy: DownloadStrategy
}

/** What happens to files that were deleted. */
export interface DeletePolicy {
  /** Whether what is deleted in the session is deleted in the context. */
  syncLocalFile: boolean
}

/** What happens to archives when they are downloaded. */
export interface ExtractPolicy {
  /** Whether they are unpacked. */
  extract: boolean
  /** Whether they are removed afterwards. */
  deleteSrcFile: boolean
  /** Whether they are unpacked where they are, and not into a folder of their name. */
  extractCurrentFolder: boolean
}

/** How long files are kept. */
export interface RecyclePolicy {
  /** How long. */
  lifecycle: Lifecycle
  /** Which; an empty path is all. No wildcards. */
  paths: string[]
}

/** A path that takes part. */
export interface WhiteList {
  /** Relative to the mount. No wildcards. */
  path: string
  /** What below it does not. */
  excludePaths: string[]
}

/** The paths that take part; all if there are none. */
export interface BWList {
  /** The paths. */
  whiteLists: WhiteList[]
}

/** Where files were in an earlier session. */
export interface MappingPolicy {
  /** The path there. */
  path: string
}

/** All of it. What is missing has its default. */
export interface SyncPolicy {
  /** How files get into the context. */
  uploadPolicy?: UploadPolicy
  /** How files get into the session. */
  downloadPolicy?: DownloadPolicy
  /** What happens to files that were deleted. */
  deletePolicy?: DeletePolicy
  /** What happens to archives. */
  extractPolicy?: ExtractPolicy
  /** How long files are kept. */
  recyclePolicy?: RecyclePolicy
  /** Which files take part. */
  bwList?: BWList
  /** Where files were in an earlier session. */
  mappingPolicy?: MappingPolicy
}

/** An upload policy. @example `newUploadPolicy({ uploadMode: UploadMode.ARCHIVE })` */
export function newUploadPolicy(options: Partial<UploadPolicy> = {}): UploadPolicy {
  const uploadStrategy = UploadStrategy.UPLOAD_BEFORE_RESOURCE_RELEASE
  return { autoUpload: true, uploadStrategy, uploadMode: UploadMode.FILE, ...options }
}

/** A download policy. @example `newDownloadPolicy({ autoDownload: false })` */
export function newDownloadPolicy(options: Partial<DownloadPolicy> = {}): DownloadPolicy {
  return { autoDownload: true, downloadStrategy: DownloadStrategy.DOWNLOAD_ASYNC, ...options }
}

/** A delete policy. @example `newDeletePolicy({ syncLocalFile: false })` */
export function newDeletePolicy(options: Partial<DeletePolicy> = {}): DeletePolicy {
  return { syncLocalFile: true, ...options }
}

/** An extract policy. @example `newExtractPolicy({ deleteSrcFile: false })` */
export function newExtractPolicy(options: Partial<ExtractPolicy> = {}): ExtractPolicy {
  return { extract: true, deleteSrcFile: true, extractCurrentFolder: false, ...options }
}

/** A recycle policy. @example `newRecyclePolicy({ lifecycle: Lifecycle.LIFECYCLE_30DAYS })` */
export function newRecyclePolicy(options: Partial<RecyclePolicy> = {}): RecyclePolicy {
  const policy = { lifecycle: Lifecycle.LIFECYCLE_FOREVER, paths: [''], ...options }
  for (const path of policy.paths) noWildcards('recycle policy paths', path)
  return policy
}

/**
 * A policy with all its parts.
 *
 * @example
 * ```ts
 * const policy = newSyncPolicy({ uploadPolicy: newUploadPolicy({ autoUpload: false }) })
 * ```
 */
export function newSyncPolicy(options: Partial<SyncPolicy> = {}): SyncPolicy {
  return {
    uploadPolicy: newUploadPolicy(),
    downloadPolicy: newDownloadPolicy(),
    deletePolicy: newDeletePolicy(),
    extractPolicy: newExtractPolicy(),
    recyclePolicy: newRecyclePolicy(),
    bwList: { whiteLists: [] },
    ...options,
  }
}

/** A policy in its form on the wire. @example `JSON.stringify(syncPolicyToDict(newSyncPolicy()))` */
export function syncPolicyToDict(policy: SyncPolicy): Record<string, unknown> {
  const { extractPolicy, bwList, ...rest } = policy
  for (const { path, excludePaths } of bwList?.whiteLists ?? []) {
    for (const each of [path, ...(excludePaths ?? [])]) noWildcards('white list paths', each)
  }
  for (const path of policy.recyclePolicy?.paths ?? []) noWildcards('recycle policy paths', path)
  return {
    ...rest,
    ...(extractPolicy && {
      extractPolicy: {
        extract: extractPolicy.extract,
        deleteSrcFile: extractPolicy.deleteSrcFile,
        // The one name that differs.
        extractToCurrentFolder: extractPolicy.extractCurrentFolder,
      },
    }),
    ...(bwList && {
      bwList: {
        whiteLists: bwList.whiteLists.map(({ path, excludePaths }) => ({
          path,
          excludePaths: excludePaths ?? [],
        })),
      },
    }),
  }
}

function noWildcards(where: string, path: string): void {
  if (/[*?[\]]/.test(path)) {
    throw new InvalidArgumentError(`Wildcard patterns are not supported in ${where}. Got: ${path}`)
  }
}

/**
 * A context at a path of a session.
 *
 * @example
 * ```ts
 * const sync = new ContextSync(context.id, '/home/user/data')
 * await agb.create(new CreateSessionParams({ imageId: 'agb-code-space-1', contextSync: [sync] }))
 * ```
 */
export class ContextSync {
  /** The context. */
  contextId: string
  /** Where it is in the session. */
  path: string
  /** How its files move; the defaults if absent. */
  policy?: SyncPolicy

  constructor(contextId: string, path: string, policy?: SyncPolicy) {
    this.contextId = contextId
    this.path = path
    if (policy !== undefined) this.policy = policy
  }

  /** The same as the constructor. @example `ContextSync.new(context.id, '/home/user/data')` */
  static new(contextId: string, path: string, policy?: SyncPolicy): ContextSync {
    return new ContextSync(contextId, path, policy)
  }

  /** Sets the policy. @example `ContextSync.new(id, '/data').withPolicy(newSyncPolicy())` */
  withPolicy(policy: SyncPolicy): ContextSync {
    this.policy = policy
    return this
  }
}
