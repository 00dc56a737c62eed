/** Whole files between this machine and a session, over the session's link. */

import { access, open, rename, rm, stat } from 'node:fs/promises'
import { refusalOf } from './client.js'
import { FileError, InvalidArgumentError, messageOf } from './errors.js'
import type { DownloadResult, UploadResult } from './file-results.js'
import { textOfAnswer } from './http.js'
import { objectOf, parseJson, present } from './json.js'
import { tell } from './listener.js'
import type { CallOptions } from './options.js'
import type { SessionLike } from './tool-call.js'

/** A transfer may take as long as it needs, if nobody says otherwise. */
const TRANSFER_MS = 24 * 3600 * 1000

/** So long no byte may move. */
const STALL_MS = 60_000

/** Bytes that are read from the disk at once. */
const PIECE_BYTES = 64 << 10

/** What transfers in both directions take. */
interface TransferOptions extends CallOptions {
  /** Taken for the official package's sake: a transfer is over when the call is. */
  wait?: boolean
  /** Taken for the official package's sake; `timeoutMs` limits the transfer. */
  waitTimeout?: number
  /** Taken for the official package's sake. */
  pollInterval?: number
}

/** Options of `FileSystem.upload`. */
export interface UploadOptions extends TransferOptions {
  /** Is sent with the file; sessions do not keep it. */
  contentType?: string
  /** Hears how many bytes were sent so far. */
  progressCallback?: (bytesSent: number) => void
}

/** Options of `FileSystem.download`. */
export interface DownloadOptions extends TransferOptions {
  /** Whether a file that is there is replaced; true if absent. */
  overwrite?: boolean
  /** Hears how many bytes came so far. */
  progressCallback?: (bytesReceived: number) => void
}

/** Sends a file. */
export async function upload(
  session: SessionLike,
  localPath: string,
  remotePath: string,
  options: UploadOptions = {},
): Promise<UploadResult> {
  const found = await stat(localPath).catch(() => undefined)
  if (!found?.isFile()) throw new FileError(`Local file not found: ${localPath}`)
  const headers = present<Record<string, string>>({
    'content-length': String(found.size),
    'content-type': options.contentType,
  })
  const body = piecesOf(localPath, found.size, options.progressCallback)
  return transfer(session, 'PUT', remotePath, options, headers, body, async (answer) => {
    const requestId = answer.headers['x-request-id']?.toString() ?? ''
    await answer.body.dump()
    return present<UploadResult>({
      success: true,
      requestIdUploadUrl: requestId,
      requestIdSync: requestId,
      httpStatus: answer.statusCode,
      etag: answer.headers.etag?.toString(),
      bytesSent: found.size,
      path: remotePath,
    })
  })
}

/** Reads a file of a known size, and tells how far it is. */
async function* piecesOf(
  path: string,
  size: number,
  listener: UploadOptions['progressCallback'],
): AsyncGenerator<Buffer, void, undefined> {
  const file = await here(`could not read ${path}`, open(path))
  try {
    for (let bytes = 0; bytes < size; ) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, size - bytes))
      const { bytesRead } = await here(`could not read ${path}`, file.read(piece))
      if (bytesRead === 0) throw new FileError(`${path} became shorter while it was read`)
      bytes += bytesRead
      tell(listener, bytes)
      yield piece.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

/** Fetches a file. It has another name until it is complete. */
export async function download(
  session: SessionLike,
  remotePath: string,
  localPath: string,
  options: DownloadOptions = {},
): Promise<DownloadResult> {
  if (options.overwrite === false) {
    const isThere = await access(localPath).then(
      () => true,
      () => false,
    )
    if (isThere) throw new FileError(`Destination exists and overwrite is false: ${localPath}`)
  }
  const partial = `${localPath}.${process.pid}-${Date.now()}.part`
  const wrong = `could not write ${localPath}`
  const file = await here(wrong, open(partial, 'wx'))
  try {
    const result = await transfer(session, 'GET', remotePath, options, {}, undefined, async (answer) => {
      const requestId = answer.headers['x-request-id']?.toString() ?? ''
      let bytesReceived = 0
      for await (const piece of answer.body) {
        await here(wrong, file.writeFile(piece))
        bytesReceived += piece.length
        tell(options.progressCallback, bytesReceived)
      }
      return {
        success: true,
        requestIdDownloadUrl: requestId,
        requestIdSync: requestId,
        httpStatus: answer.statusCode,
        bytesReceived,
        path: remotePath,
        localPath,
      }
    })
    await here(wrong, file.close())
    await here(wrong, rename(partial, localPath))
    return result
  } catch (error) {
    await file.close().catch(() => undefined)
    await rm(partial, { force: true })
    throw error
  }
}

/** Does something on this machine, whose failures are not those of a connection. */
async function here<T>(wrong: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    throw new FileError(`${wrong}: ${messageOf(cause)}`, { cause })
  }
}

type Answer = Parameters<Parameters<ReturnType<SessionLike['getClient']>['http']['exchange']>[1]>[0]

function transfer<T>(
  session: SessionLike,
  method: 'GET' | 'PUT',
  path: string,
  options: CallOptions,
  headers: Record<string, string>,
  body: AsyncIterable<Uint8Array> | undefined,
  read: (answer: Answer) => Promise<T>,
): Promise<T> {
  const { linkUrl, token } = session
  if (!linkUrl || !token) {
    throw new InvalidArgumentError(
      `session \`${session.getSessionId()}\` has no link; recover it with \`agb.get\``,
    )
  }
  const request = {
    method,
    url: `${linkUrl.replace(/\/+$/, '')}/files?path=${encodeURIComponent(path)}`,
    headers: { 'x-access-token': token, ...headers },
    stallMs: STALL_MS,
    ...present<CallOptions>({ timeoutMs: options.timeoutMs ?? TRANSFER_MS, signal: options.signal }),
    ...(body === undefined ? {} : { body }),
  }
  return session.getClient().http.exchange(request, async (answer) => {
    if (answer.statusCode >= 200 && answer.statusCode < 300) return read(answer)
    const text = await textOfAnswer(answer)
    const requestId = answer.headers['x-request-id']?.toString() ?? ''
    throw refusalOf(answer.statusCode, objectOf(parseJson(text)), text, requestId)
  })
}
