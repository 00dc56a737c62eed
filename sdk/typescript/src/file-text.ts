/** Reads the texts in which tools tell of files. */

import { FileError } from './errors.js'
import type { DirectoryEntry, FileChangeEvent, FileInfo } from './file-results.js'
import { isObject, listOf, parseJson, present, textOf } from './json.js'

/** Lines `key: value`. A value may have colons. */
export function readInfo(text: string): FileInfo {
  const known: Record<string, string> = {}
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) known[line.slice(0, colon).trim()] = line.slice(colon + 1).trim()
  }
  return present<FileInfo>({
    name: known.name ?? '',
    path: known.path ?? '',
    size: Number(known.size ?? 0) || 0,
    isDirectory: known.isDirectory === 'true',
    modTime: known.modTime ?? '',
    mode: known.mode ?? '',
    owner: known.owner,
    group: known.group,
  })
}

/** Lines `[DIR] name` and `[FILE] name`. */
export function readDirectory(text: string): DirectoryEntry[] {
  return text.split('\n').flatMap((line): DirectoryEntry[] => {
    const [, kind, name] = /^\[(DIR|FILE)\] ?(.*)$/.exec(line) ?? []
    return kind && name ? [{ type: kind === 'DIR' ? 'directory' : 'file', name }] : []
  })
}

/** Blocks of `path:`, the text, and `---`. */
export function readSeveral(text: string): Record<string, string> {
  const files: Record<string, string> = {}
  let path: string | undefined
  let lines: string[] = []
  const close = (): void => {
    if (path !== undefined) files[path] = lines.join('\n').trim()
    path = undefined
    lines = []
  }
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (line === '---') close()
    else if (path !== undefined) lines.push(line)
    else if (colon > 0) {
      path = line.slice(0, colon).trim()
      lines.push(line.slice(colon + 1))
    }
  }
  close()
  return files
}

/** A JSON array of changes. */
export function readChanges(text: string): FileChangeEvent[] {
  const said = parseJson(text === '' ? '[]' : text)
  if (!Array.isArray(said)) throw new FileError(`\`get_file_change\` said no list: ${text.slice(0, 200)}`)
  return listOf(said)
    .filter(isObject)
    .map((change) => ({
      eventType: textOf(change.eventType ?? change.EventType),
      path: textOf(change.path ?? change.Path),
      pathType: textOf(change.pathType ?? change.PathType),
    }))
}

/** A text in pieces, cut between characters. One empty piece of an empty text. */
export function* slices(text: string, length: number): Generator<string> {
  let start = 0
  do {
    let end = start + length
    const last = text.charCodeAt(end - 1)
    if (end < text.length && last >= 0xd800 && last <= 0xdbff) end -= 1
    yield text.slice(start, end)
    start = end
  } while (start < text.length)
}
