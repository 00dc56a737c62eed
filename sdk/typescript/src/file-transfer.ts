/** Whole files between this machine and a session, over the session's link. */

import { createReadStream, createWriteStream } from 'node:fs'
import { access, rename, rm, stat } from 'node:fs/promises'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { refusalOf } from './client.js'
import { FileError, InvalidArgumentError } from './errors.js'
import type { DownloadResult, UploadResult } from './file-results.js'
import { textOfAnswer } from './http.js'
import { objectOf, parseJson, present } from './json.js'
import { tell } from './listener.js'
import type { CallOptions } from './options.js'
import type { SessionLike } from './tool-call.js'

/** A transfer may take as long as it needs, if nobody says otherwise. */
const TRANSFER_MS = 24 * 3600 * 1000

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
  const file = createReadStream(localPath)
  const counter = counting(options.progressCallback)
  file.on('error', (error) => counter.destroy(error))
  try {
    const headers = present<Record<string, string>>({
      'content-length': String(found.size),
      'content-type': options.contentType,
    })
    return await transfer(
      session,
      'PUT',
      remotePath,
      options,
      headers,
      file.pipe(counter),
      async (answer) => {
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
      },
    )
  } finally {
    file.destroy()
    counter.destroy()
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
  return transfer(session, 'GET', remotePath, options, {}, undefined, async (answer) => {
    const requestId = answer.headers['x-request-id']?.toString() ?? ''
    const partial = `${localPath}.${process.pid}-${Date.now()}.part`
    let bytesReceived = 0
    const counter = counting((bytes) => {
      bytesReceived = bytes
      tell(options.progressCallback, bytes)
    })
    try {
      await pipeline(answer.body, counter, createWriteStream(partial))
      await rename(partial, localPath)
    } catch (error) {
      await rm(partial, { force: true })
      throw error
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
}

type Answer = Parameters<Parameters<ReturnType<SessionLike['getClient']>['http']['exchange']>[1]>[0]

function transfer<T>(
  session: SessionLike,
  method: 'GET' | 'PUT',
  path: string,
  options: CallOptions,
  headers: Record<string, string>,
  body: Transform | undefined,
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
    timeoutMs: options.timeoutMs ?? TRANSFER_MS,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(body === undefined ? {} : { body }),
  }
  return session.getClient().http.exchange(request, async (answer) => {
    if (answer.statusCode >= 200 && answer.statusCode < 300) return read(answer)
    const text = await textOfAnswer(answer)
    const requestId = answer.headers['x-request-id']?.toString() ?? ''
    throw refusalOf(answer.statusCode, objectOf(parseJson(text)), text, requestId)
  })
}

/** Passes bytes on and tells how many there were. */
function counting(listener: ((bytes: number) => void) | undefined): Transform {
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      tell(listener, bytes)
      done(null, chunk)
    },
  })
}
