/**
 * The session's files as the server lists them at `./files`. Pure.
 *
 * In: a response body; out: the files that it names, or what went wrong in the server's words.
 */

export interface SharedFile {
  readonly name: string
  readonly folder: string
  readonly path: string
  readonly bytes: number
  /** When it was changed, in Unix milliseconds; `null` if the server does not say. */
  readonly modifiedMs: number | null
}

/** Shown at most; a folder with more is not for clicking through. */
export const FILES_MAX = 500

export function parseFiles(body: unknown): SharedFile[] | null {
  const files = field(body, 'files')
  if (!Array.isArray(files)) return null
  return files.slice(0, FILES_MAX).flatMap((file) => {
    const [name, path, size] = [field(file, 'name'), field(file, 'path'), field(file, 'size')]
    if (typeof name !== 'string' || typeof path !== 'string' || path === '') return []
    const folder = field(file, 'folder')
    return {
      name: name || path,
      folder: typeof folder === 'string' ? folder : '',
      path,
      bytes: typeof size === 'number' && size >= 0 ? size : 0,
      modifiedMs: timeOf(field(file, 'modified')),
    }
  })
}

/** The `message` of the server's answer, or `otherwise` if it gave none. */
export function messageOf(text: string, otherwise: string): string {
  try {
    const message = field(JSON.parse(text), 'message')
    return typeof message === 'string' && message !== '' ? message : otherwise
  } catch {
    return otherwise
  }
}

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'] as const

/** A size for a person to read. */
export function sizeInWords(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`
}

function timeOf(value: unknown): number | null {
  const ms = typeof value === 'string' ? Date.parse(value) : value
  return typeof ms === 'number' && Number.isFinite(ms) ? ms : null
}

function field(body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[name] : undefined
}
