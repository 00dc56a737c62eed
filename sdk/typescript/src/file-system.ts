/** Files inside a session. */

import { FileError, InvalidArgumentError } from './errors.js'
import type {
  BinaryFileContentResult,
  DirectoryListResult,
  DownloadResult,
  FileChangeEvent,
  FileChangeResult,
  FileContentResult,
  FileInfoResult,
  FileSearchResult,
  MultipleFileContentResult,
  UploadResult,
} from './file-results.js'
import { readChanges, readDirectory, readInfo, readSeveral, slices } from './file-text.js'
import { type DownloadOptions, download, type UploadOptions, upload } from './file-transfer.js'
import { watch } from './file-watch.js'
import { type JsonObject, listOf, objectOf, present, textOf } from './json.js'
import { begin } from './limits.js'
import type { CallOptions } from './options.js'
import { type Outcome, orElse } from './outcome.js'
import type { BoolResult } from './results.js'
import { BaseService } from './service.js'

/** What `FileSystem.watchDir` started. */
export interface Watching {
  /** Ends it. */
  stop: () => void
}

/** Bytes that are read in one call. A server gives at most twice as many. */
const WINDOW_BYTES = 8 << 20

/** A text may end short of its window by the rest of a character. */
const CHARACTER_BYTES_MAX = 4

/**
 * Files and directories of a session. Paths are absolute.
 *
 * @example
 * ```ts
 * await session.file.writeFile('/home/user/a.txt', 'hello\n')
 * const { content } = await session.file.readFile('/home/user/a.txt')
 * ```
 */
export class FileSystem<Throws extends boolean = false> extends BaseService<Throws> {
  /** Characters that are written in one call. */
  static readonly DEFAULT_CHUNK_SIZE: number = 1 << 20

  /** @internal */
  protected override get errorClass() {
    return FileError
  }

  /** Makes a directory and those above it. @example `await session.file.createDirectory('/home/user/data')` */
  createDirectory(path: string, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('create_directory', { path }, options)
  }

  /** Deletes a file, not a directory. @example `await session.file.deleteFile('/home/user/a.txt')` */
  deleteFile(path: string, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('delete_file', { path }, options)
  }

  /**
   * Replaces texts in a file, all of them or none.
   *
   * @param dryRun only looks whether every old text is there.
   *
   * @example
   * ```ts
   * await session.file.editFile('/home/user/a.txt', [{ oldText: 'hello', newText: 'bye' }])
   * ```
   */
  editFile(
    path: string,
    edits: Array<{ oldText: string; newText: string }>,
    dryRun = false,
    options?: CallOptions,
  ): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('edit_file', { path, edits, dryRun }, options)
  }

  /** What is known of a file or directory. @example `await session.file.getFileInfo('/home/user/a.txt')` */
  getFileInfo(path: string, options?: CallOptions): Promise<Outcome<FileInfoResult, Throws>> {
    return this.attempt<FileInfoResult>(options, async () => {
      const { text, requestId } = await this.tool('get_file_info', { path }, options)
      return { requestId, success: true, fileInfo: readInfo(text) }
    })
  }

  /** What is in a directory. @example `const { entries } = await session.file.listDirectory('/home/user')` */
  listDirectory(path: string, options?: CallOptions): Promise<Outcome<DirectoryListResult, Throws>> {
    return this.attempt<DirectoryListResult>(
      options,
      async () => {
        const { text, requestId } = await this.tool('list_directory', { path }, options)
        return { requestId, success: true, entries: readDirectory(text) }
      },
      { entries: [] },
    )
  }

  /** Moves or renames. Nothing may be at the destination. @example `await session.file.moveFile('/tmp/a', '/tmp/b')` */
  moveFile(source: string, destination: string, options?: CallOptions): Promise<Outcome<BoolResult, Throws>> {
    return this.bool('move_file', { source, destination }, options)
  }

  /**
   * Reads a file, as text or as bytes.
   *
   * @example
   * ```ts
   * const { content } = await session.file.readFile('/home/user/plot.png', { format: 'bytes' })
   * await writeFile('plot.png', content)
   * ```
   */
  readFile(
    path: string,
    opts: { format: 'bytes' } & CallOptions,
  ): Promise<Outcome<BinaryFileContentResult, Throws>>
  readFile(
    path: string,
    opts?: { format?: 'text' } & CallOptions,
  ): Promise<Outcome<FileContentResult, Throws>>
  readFile(
    path: string,
    opts?: { format?: 'text' | 'bytes' } & CallOptions,
  ): Promise<Outcome<FileContentResult, Throws> | Outcome<BinaryFileContentResult, Throws>>
  readFile(
    path: string,
    opts: { format?: 'text' | 'bytes' } & CallOptions = {},
  ): Promise<Outcome<FileContentResult, Throws> | Outcome<BinaryFileContentResult, Throws>> {
    const { format = 'text', ...options } = opts
    return format === 'bytes' ? this.#readBytes(path, options) : this.#readText(path, options)
  }

  /**
   * Writes a text to a file and makes missing directories.
   *
   * @param mode is `overwrite`, `append`, or `create_new`, which fails if the file is there.
   *
   * @example
   * ```ts
   * await session.file.writeFile('/home/user/log.txt', 'one more line\n', 'append')
   * ```
   */
  writeFile(
    path: string,
    content: string,
    mode: 'overwrite' | 'append' | 'create_new' = 'overwrite',
    options?: CallOptions,
  ): Promise<Outcome<BoolResult, Throws>> {
    return this.attempt<BoolResult>(options, async () => {
      const limits = begin(options)
      let requestId = ''
      let now: string = mode
      for (const slice of slices(content, FileSystem.DEFAULT_CHUNK_SIZE)) {
        const answer = await this.tool('write_file', { path, content: slice, mode: now }, limits)
        requestId = answer.requestId
        now = 'append'
      }
      return { requestId, success: true, data: true }
    })
  }

  /** Reads several text files. @example `await session.file.readMultipleFiles(['/tmp/a.txt', '/tmp/b.txt'])` */
  readMultipleFiles(
    paths: string[],
    options?: CallOptions,
  ): Promise<Outcome<MultipleFileContentResult, Throws>> {
    return this.attempt<MultipleFileContentResult>(
      options,
      async () => {
        const { text, requestId } = await this.tool('read_multiple_files', { paths }, options)
        return { requestId, success: true, files: readSeveral(text) }
      },
      { files: {} },
    )
  }

  /**
   * Finds files and directories by name.
   *
   * @param pattern is a glob such as `*.txt`, or a word that is part of the name.
   * @param excludePatterns are patterns of what is left out, with all below it.
   *
   * @example
   * ```ts
   * const { matches } = await session.file.searchFiles('/home/user', '*.ts', ['node_modules'])
   * ```
   */
  searchFiles(
    path: string,
    pattern: string,
    excludePatterns?: string[],
    options?: CallOptions,
  ): Promise<Outcome<FileSearchResult, Throws>> {
    return this.attempt<FileSearchResult>(options, async () => {
      const excluded = excludePatterns?.length ? excludePatterns : undefined
      const args = present<JsonObject>({ path, pattern, excludePatterns: excluded })
      const { text, requestId } = await this.tool('search_files', args, options)
      const matches = text.split('\n').filter((line) => line !== '' && line !== 'No matches found')
      return { requestId, success: true, matches }
    })
  }

  /**
   * What changed below a directory since the call before. The first call begins to watch.
   *
   * @example
   * ```ts
   * const { events } = await session.file.getFileChange('/home/user')
   * ```
   */
  getFileChange(path: string, options?: CallOptions): Promise<Outcome<FileChangeResult, Throws>> {
    return this.attempt<FileChangeResult>(
      options,
      async () => {
        const { text, requestId } = await this.tool('get_file_change', { path }, options)
        return { requestId, success: true, events: readChanges(text), rawData: text }
      },
      { events: [] },
    )
  }

  /** The path of the session's context for transfers. @example `const path = await session.file.transferPath()` */
  transferPath(options?: CallOptions): Promise<string | undefined> {
    const parameters = { sessionId: this.session.getSessionId(), contextTypes: '["file_transfer"]' }
    const work = async () => {
      const { data } = await this.session.getClient().getAndLoadInternalContext(parameters, options)
      const found = listOf(data)
        .map(objectOf)
        .find((item) => item.contextId && item.contextPath)
      return found && textOf(found.contextPath)
    }
    return orElse<string | undefined>(this.throwOnError, options, work, () => undefined)
  }

  /**
   * Copies a file of this machine into the session, straight from the disk and of any size.
   *
   * @example
   * ```ts
   * await session.file.upload('data.csv', '/home/user/data.csv', { progressCallback: (sent) => console.log(sent) })
   * ```
   */
  upload(
    localPath: string,
    remotePath: string,
    options?: UploadOptions,
  ): Promise<Outcome<UploadResult, Throws>> {
    return this.attempt<UploadResult & { requestId?: string }>(
      options,
      () => upload(this.session, localPath, remotePath, options),
      { bytesSent: 0, path: remotePath },
    ) as Promise<Outcome<UploadResult, Throws>>
  }

  /**
   * Copies a file of the session to this machine. What comes is complete, or nothing is written.
   *
   * @example
   * ```ts
   * const { bytesReceived } = await session.file.download('/home/user/plot.png', 'plot.png')
   * ```
   */
  download(
    remotePath: string,
    localPath: string,
    options?: DownloadOptions,
  ): Promise<Outcome<DownloadResult, Throws>> {
    return this.attempt<DownloadResult & { requestId?: string }>(
      options,
      () => download(this.session, remotePath, localPath, options),
      { bytesReceived: 0, path: remotePath, localPath },
    ) as Promise<Outcome<DownloadResult, Throws>>
  }

  /**
   * Tells of changes below a directory until the signal aborts or the session ends; then it resolves.
   *
   * @param callback hears changes, when there are any.
   * @param interval is milliseconds between two looks.
   *
   * @example
   * ```ts
   * const stop = new AbortController()
   * await session.file.watchDirectory('/home/user', (events) => console.log(events), 500, stop.signal)
   * ```
   */
  watchDirectory(
    path: string,
    callback: (events: FileChangeEvent[]) => void,
    interval = 1000,
    signal?: AbortSignal,
  ): Promise<void> {
    if (!(interval > 0)) {
      throw new InvalidArgumentError(`\`interval\` is ${interval}; allowed: a number above 0 (milliseconds)`)
    }
    const look = async (limits: CallOptions) => {
      const { text } = await this.tool('get_file_change', { path }, limits)
      return readChanges(text)
    }
    return watch(look, callback, interval, signal, this.throwOnError)
  }

  /**
   * The same in the background, with a way to stop it.
   *
   * @example
   * ```ts
   * const watching = session.file.watchDir('/home/user', (events) => console.log(events))
   * watching.stop()
   * ```
   */
  watchDir(dirPath: string, callback: (events: FileChangeEvent[]) => void, interval = 1000): Watching {
    const controller = new AbortController()
    // Nobody waits for it, so nobody could hear of an error.
    this.watchDirectory(dirPath, callback, interval, controller.signal).catch(() => undefined)
    return { stop: () => controller.abort() }
  }

  /** The same as `readFile`. @example `await session.file.read('/tmp/a.txt')` */
  get read(): FileSystem<Throws>['readFile'] {
    return this.readFile
  }
  /** The same as `writeFile`. @example `await session.file.write('/tmp/a.txt', 'text')` */
  get write(): FileSystem<Throws>['writeFile'] {
    return this.writeFile
  }
  /** The same as `listDirectory`. @example `await session.file.list('/tmp')` */
  get list(): FileSystem<Throws>['listDirectory'] {
    return this.listDirectory
  }
  /** The same as `listDirectory`. @example `await session.file.ls('/tmp')` */
  get ls(): FileSystem<Throws>['listDirectory'] {
    return this.listDirectory
  }
  /** The same as `deleteFile`. @example `await session.file.delete('/tmp/a.txt')` */
  get delete(): FileSystem<Throws>['deleteFile'] {
    return this.deleteFile
  }
  /** The same as `deleteFile`. @example `await session.file.remove('/tmp/a.txt')` */
  get remove(): FileSystem<Throws>['deleteFile'] {
    return this.deleteFile
  }
  /** The same as `deleteFile`. @example `await session.file.rm('/tmp/a.txt')` */
  get rm(): FileSystem<Throws>['deleteFile'] {
    return this.deleteFile
  }
  /** The same as `createDirectory`. @example `await session.file.mkdir('/tmp/data')` */
  get mkdir(): FileSystem<Throws>['createDirectory'] {
    return this.createDirectory
  }

  #readText(path: string, options: CallOptions): Promise<Outcome<FileContentResult, Throws>> {
    return this.attempt<FileContentResult>(
      options,
      async () => {
        const pieces: string[] = []
        const requestId = await this.#windows(path, {}, options, (text) => {
          pieces.push(text)
          return Buffer.byteLength(text)
        })
        return { requestId, success: true, content: pieces.join('') }
      },
      { content: '' },
    )
  }

  #readBytes(path: string, options: CallOptions): Promise<Outcome<BinaryFileContentResult, Throws>> {
    return this.attempt<BinaryFileContentResult>(
      options,
      async () => {
        const pieces: Buffer[] = []
        const requestId = await this.#windows(path, { format: 'binary' }, options, (text) => {
          const bytes = Buffer.from(text, 'base64')
          pieces.push(bytes)
          return bytes.length
        })
        const content = Buffer.concat(pieces)
        return { requestId, success: true, content, size: content.length }
      },
      { content: Buffer.alloc(0) },
    )
  }

  /** Reads window after window until one is not full. `take` keeps what came and tells its bytes. */
  async #windows(
    path: string,
    format: Record<string, unknown>,
    options: CallOptions,
    take: (text: string) => number,
  ): Promise<string> {
    const limits = begin(options)
    for (let offset = 0; ; offset += WINDOW_BYTES) {
      const args = { path, offset, length: WINDOW_BYTES, ...format }
      const { text, requestId } = await this.tool('read_file', args, limits)
      if (take(text) < WINDOW_BYTES - CHARACTER_BYTES_MAX) return requestId
    }
  }
}
