/** Reads what `run_code` says. There are several forms of it; each is known by its members. */

import { isObject, type JsonObject, listOf, numberOf, objectOf, parseJson, present, textOf } from './json.js'
import type { EnhancedCodeExecutionResult, ExecutionError, ExecutionResult } from './results.js'

/** The names of each form of a result, the first one that is there counts. */
const FORMS = {
  text: ['text/plain', 'text'],
  html: ['text/html', 'html'],
  markdown: ['text/markdown', 'markdown'],
  png: ['image/png', 'png'],
  jpeg: ['image/jpeg', 'jpeg'],
  svg: ['image/svg+xml', 'svg'],
  json: ['application/json', 'json'],
  latex: ['text/latex', 'latex'],
  chart: ['application/vnd.vegalite.v4+json', 'application/vnd.vegalite.v5+json', 'chart'],
} as const

/** A result of code out of its forms by name. */
export function executionResult(forms: JsonObject, isMain: boolean): ExecutionResult {
  const found = Object.entries(FORMS).map(([member, names]) => {
    const name = names.find((name) => forms[name] !== undefined && forms[name] !== null)
    return [member, name === undefined ? undefined : forms[name]]
  })
  return present<ExecutionResult>({ ...Object.fromEntries(found), isMainResult: isMain })
}

/** Whether a result says of itself that it is the main one. */
export function isMain(item: JsonObject): boolean {
  return Boolean(item.isMainResult ?? item.is_main_result)
}

/** A run of which nothing is known yet. */
export function emptyRun(): EnhancedCodeExecutionResult {
  return { success: false, logs: { stdout: [], stderr: [] }, results: [], executionTime: 0, errorMessage: '' }
}

/** Reads the text of the tool. */
export function readRun(text: string, requestId: string): EnhancedCodeExecutionResult {
  const run = { ...emptyRun(), requestId }
  if (text === '') return { ...run, errorMessage: 'No data returned' }
  const parsed = parseJson(text.trim())
  if (!isObject(parsed)) return plain(run, text)
  const said = nested(parsed) ?? parsed
  if (said.isError) {
    const why = listOf(said.content).map((block) => textOf(objectOf(block).text) || 'Unknown error')
    return { ...run, errorMessage: `Error in response: ${why.join('; ')}` }
  }
  if (Array.isArray(said.result)) return flat(run, said, said.result)
  if ('logs' in said || 'results' in said) return rich(run, said)
  if ('content' in said) {
    const first = objectOf(listOf(said.content)[0]).text
    return typeof first === 'string'
      ? plain(run, first)
      : { ...run, errorMessage: 'No content found in response' }
  }
  return plain(run, JSON.stringify(said))
}

/** The same inside the first block of a content. */
function nested(said: JsonObject): JsonObject | undefined {
  const inner = parseJson(textOf(objectOf(listOf(said.content)[0]).text))
  return isObject(inner) && ('result' in inner || 'executionError' in inner) ? inner : undefined
}

function plain(run: EnhancedCodeExecutionResult, text: string): EnhancedCodeExecutionResult {
  return {
    ...run,
    success: true,
    results: [{ text, isMainResult: true }],
    logs: { stdout: [text], stderr: [] },
  }
}

function flat(
  run: EnhancedCodeExecutionResult,
  said: JsonObject,
  items: unknown[],
): EnhancedCodeExecutionResult {
  const why = textOf(said.executionError)
  const error: ExecutionError | undefined = why
    ? { name: 'ExecutionError', value: why, traceback: '' }
    : undefined
  return present<EnhancedCodeExecutionResult>({
    ...run,
    ...counts(said),
    success: why === '',
    logs: { stdout: lines(said.stdout), stderr: lines(said.stderr) },
    results: items.map(item),
    error,
    errorMessage: why,
  })
}

function rich(run: EnhancedCodeExecutionResult, said: JsonObject): EnhancedCodeExecutionResult {
  const logs = objectOf(said.logs)
  const told = isObject(said.error) ? said.error : undefined
  const error = told && {
    name: textOf(told.name) || 'UnknownError',
    value: textOf(told.value),
    traceback: textOf(told.traceback),
  }
  return present<EnhancedCodeExecutionResult>({
    ...run,
    ...counts(said),
    success: error === undefined,
    logs: { stdout: lines(logs.stdout), stderr: lines(logs.stderr) },
    results: listOf(said.results).map(item),
    error,
    errorMessage: error ? error.value || error.name : '',
  })
}

function counts(said: JsonObject): { executionCount?: number; executionTime: number } {
  const count = said.execution_count
  const executionTime = numberOf(said.execution_time)
  return typeof count === 'number' ? { executionCount: count, executionTime } : { executionTime }
}

function lines(value: unknown): string[] {
  return typeof value === 'string' ? [value] : listOf(value).map(textOf)
}

/** An object, or JSON text of one, or JSON text of that, or any text. */
function item(value: unknown): ExecutionResult {
  let read = value
  for (let depth = 0; depth < 2 && typeof read === 'string'; depth += 1) read = parseJson(read) ?? read
  if (isObject(read)) return executionResult(read, isMain(read))
  return { text: typeof read === 'string' ? read : JSON.stringify(read), isMainResult: false }
}
