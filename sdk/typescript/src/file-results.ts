/** The results of file operations. */

import type { ApiResponse } from './results.js'

/** A result that is a success or says why not. */
interface Told extends ApiResponse {
  /** Whether it was done. */
  success: boolean
  /** Why not. */
  errorMessage?: string
}

/** Of reading text. */
export interface FileContentResult extends Told {
  /** The text; empty after a failure. */
  content: string
}

/** Of reading bytes. */
export interface BinaryFileContentResult extends Told {
  /** The bytes; empty after a failure. */
  content: Buffer
  /** How many. */
  size?: number
}

/** Of reading several files. */
export interface MultipleFileContentResult extends Told {
  /** Texts by path. A file that could not be read has the reason for its text. */
  files: Record<string, string>
}

/** What is known of a file or directory. */
export interface FileInfo {
  /** Its name. */
  name: string
  /** Its absolute path. */
  path: string
  /** Bytes. */
  size: number
  /** Whether it is a directory. */
  isDirectory: boolean
  /** When it was changed. */
  modTime: string
  /** Its rights, such as `-rw-r--r--`. */
  mode: string
  /** Whose it is. */
  owner?: string
  /** Its group. */
  group?: string
}

/** Of `FileSystem.getFileInfo`. */
export interface FileInfoResult extends Told {
  /** What is known. */
  fileInfo?: FileInfo
}

/** Something in a directory. */
export interface DirectoryEntry {
  /** What it is. */
  type: 'file' | 'directory'
  /** Its name. */
  name: string
}

/** Of `FileSystem.listDirectory`. */
export interface DirectoryListResult extends Told {
  /** What is there. */
  entries: DirectoryEntry[]
}

/** Of `FileSystem.searchFiles`. */
export interface FileSearchResult extends Told {
  /** Absolute paths. */
  matches?: string[]
}

/** A change below a directory. */
export interface FileChangeEvent {
  /** `create`, `modify` or `delete`. */
  eventType: string
  /** The absolute path. */
  path: string
  /** `file` or `directory`. */
  pathType: string
}

/** Of `FileSystem.getFileChange`. */
export interface FileChangeResult extends Told {
  /** What changed since the call before. */
  events: FileChangeEvent[]
  /** The same as the tool said it. */
  rawData?: string
}

/** Of `FileSystem.upload`. */
export interface UploadResult {
  /** Whether it was done. */
  success: boolean
  /** The request that carried the file. */
  requestIdUploadUrl?: string
  /** The request after which the file was in the session. */
  requestIdSync?: string
  /** The status of the transfer. */
  httpStatus?: number
  /** The server's mark of this content, where there is one. */
  etag?: string
  /** How many bytes were sent. */
  bytesSent: number
  /** The path in the session. */
  path: string
  /** Why not. */
  errorMessage?: string
}

/** Of `FileSystem.download`. */
export interface DownloadResult {
  /** Whether it was done. */
  success: boolean
  /** The request that carried the file. */
  requestIdDownloadUrl?: string
  /** The request before which the file was read in the session. */
  requestIdSync?: string
  /** The status of the transfer. */
  httpStatus?: number
  /** How many bytes came. */
  bytesReceived: number
  /** The path in the session. */
  path: string
  /** The path here. */
  localPath: string
  /** Why not. */
  errorMessage?: string
}
