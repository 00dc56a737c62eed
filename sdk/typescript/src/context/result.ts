/** The results of contexts. */

import type { ApiResponse } from '../results.js'

/** A result that is a success or says why not. */
interface Told extends ApiResponse {
  /** Whether it was done. */
  success: boolean
  /** Why not. */
  errorMessage?: string
}

/** Which contexts are listed. */
export interface ContextListParams {
  /** How many at most; 10 if absent. */
  maxResults?: number
  /** Where the page before ended. */
  nextToken?: string
}

/** A context. */
export interface ContextData {
  /** Its id. */
  id: string
  /** Its name. */
  name: string
  /** When it was made. */
  createdAt?: string
  /** When it was last used. */
  lastUsedAt?: string
}

/** Of `ContextService.get` and `create`. */
export interface ContextResult extends Told {
  /** The context. */
  context?: ContextData
}

/** Of `ContextService.list`. */
export interface ContextListResult extends Told {
  /** The contexts of this page. */
  contexts: ContextData[]
  /** Where the next page begins; absent after the last. */
  nextToken?: string
  /** How many a page has at most. */
  maxResults?: number
  /** How many there are on all pages. */
  totalCount?: number
}

/** Of clearing a context. */
export interface ClearContextResult extends Told {
  /** `clearing`, or `available` when it is done. */
  state?: string
}

/** A URL to read or write a file. */
export interface FileUrlResult extends Told {
  /** The URL. A secret until it expires. */
  url?: string
  /** When it expires, in seconds since 1970. */
  expireTime?: number
}

/** A file of a context. */
export interface ContextFileEntry {
  /** Its id. */
  fileId?: string
  /** Its name. */
  name: string
  /** Its path. */
  path: string
  /** What it is. */
  type: string
  /** When it was made. */
  createdTime?: string
  /** When it was changed. */
  modifiedTime?: string
  /** Bytes. */
  size?: number
  /** How it is. */
  status?: string
}

/** Of `ContextService.listFiles`. */
export interface ContextFileListResult extends Told {
  /** The files of this page. */
  files: ContextFileEntry[]
  /** How many there are on all pages. */
  count?: number
}

/** How far the files of a context have come. */
export interface ContextStatusData {
  /** The context. */
  contextId: string
  /** Where it is in the session. */
  path: string
  /** Why it failed; else empty. */
  errorMessage: string
  /** `Success` or `Failed` in the end. */
  status: string
  /** When it began, in seconds since 1970. */
  startTime: number
  /** When it ended. */
  finishTime: number
  /** `upload` or `download`. */
  taskType: string
}

/** Of `ContextManager.info`. */
export interface ContextInfoResult {
  /** Under which the server's log has the request. */
  requestId: string
  /** Whether it was done. */
  success: boolean
  /** One for each context and direction. */
  items: ContextStatusData[]
  /** Why not. */
  errorMessage?: string
}

/** Of `ContextManager.sync`. */
export interface ContextSyncResult {
  /** Under which the server's log has the request. */
  requestId: string
  /** Whether all files came through. */
  success: boolean
  /** Why not. */
  errorMessage?: string
}

/** A looser form of `ContextStatusData`. */
export interface ContextStatusDataType {
  /** The context. */
  contextId: string
  /** Where it is in the session. */
  path: string
  /** Why it failed. */
  errorMessage?: string
  /** `Success` or `Failed` in the end. */
  status: string
  /** When it began. */
  startTime?: string
  /** When it ended. */
  finishTime?: string
  /** `upload` or `download`. */
  taskType?: string
}

/** A looser form of `ContextInfoResult`. */
export interface ContextInfoResultType extends Told {
  /** One for each context and direction. */
  items: ContextStatusData[]
}

/** A looser form of `ContextSyncResult`. */
export interface ContextSyncResultType extends Told {}
