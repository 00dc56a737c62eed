/** Reads `.env` files. The environment of the process is left as it is. */

import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { InvalidArgumentError } from './errors.js'

const LINE = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)$/
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' }

/** The variables that a text sets: `NAME=value`, with `export`, quotes and comments as in a shell. */
export function parseEnv(text: string): Record<string, string> {
  const found: Record<string, string> = {}
  for (const line of text.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    const [, name, rest] = LINE.exec(line) ?? []
    if (name !== undefined && rest !== undefined) found[name] = value(rest.trim())
  }
  return found
}

function value(text: string): string {
  const quoted = /^(?:"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:#.*)?$/.exec(text)
  if (quoted?.[1] !== undefined) return quoted[1].replace(/\\(.)/g, (_, c: string) => ESCAPES[c] ?? c)
  if (quoted?.[2] !== undefined) return quoted[2]
  return text.replace(/(?:^|\s+)#.*$/, '').trim()
}

/** The variables of the file that was named, or of the nearest `.env` from here upward, short of `/`. */
export function readEnv(file?: string, from: string = process.cwd()): Record<string, string> {
  if (file !== undefined) {
    const text = read(resolve(from, file))
    if (text !== undefined) return parseEnv(text)
    throw new InvalidArgumentError(`\`envFile\` is ${JSON.stringify(file)}, which cannot be read`)
  }
  for (let folder = resolve(from); folder !== dirname(folder); folder = dirname(folder)) {
    const text = read(join(folder, '.env'))
    if (text !== undefined) return parseEnv(text)
  }
  return {}
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
