/** Shell commands inside a session. */

import { AGBError, CommandError, InvalidArgumentError, ToolError } from './errors.js'
import { isObject, type JsonObject, parseJson, present, textOf } from './json.js'
import type { CallOptions } from './options.js'
import type { Outcome } from './outcome.js'
import type { CommandResult } from './results.js'
import { BaseService } from './service.js'
import type { ToolAnswer } from './tool-call.js'

/**
 * Runs commands, each in a fresh shell: only files persist.
 *
 * @example
 * ```ts
 * const { stdout, exitCode } = await session.command.execute('uname -sr')
 * ```
 */
export class Command<Throws extends boolean = false> extends BaseService<Throws> {
  /** @internal */
  protected override get errorClass() {
    return CommandError
  }

  /**
   * Runs a command line. It is a success if it exits with 0.
   *
   * @param timeoutMs is milliseconds after which the command is killed with everything that it started.
   * @param cwd is the directory that it runs in; the home directory if absent.
   * @param envs are variables beside those of the session.
   *
   * @example
   * ```ts
   * const done = await session.command.execute('echo "$NAME"', 5000, '/tmp', { NAME: 'Ada' })
   * if (!done.success) console.error(done.exitCode, done.stderr)
   * ```
   */
  execute(
    command: string,
    timeoutMs = 1000,
    cwd?: string,
    envs?: Record<string, string>,
    options: CallOptions = {},
  ): Promise<Outcome<CommandResult, Throws>> {
    return this.attempt<CommandResult>(
      options,
      async () => {
        checkEnvs(envs)
        const args = present<JsonObject>({ command, timeout_ms: timeoutMs, cwd, envs })
        const result = await this.tool('shell', args, options).then(exited, refused)
        if (this.throwOnError && !result.success) {
          const extra = { tool: 'shell', requestId: result.requestId, result }
          throw new CommandError(result.errorMessage || `the command exited with ${result.exitCode}`, extra)
        }
        return result
      },
      { output: '', exitCode: -1, stdout: '', stderr: '', traceId: '' },
    )
  }

  /** The same as `execute`. @example `await session.command.run('ls')` */
  run(...args: Parameters<Command['execute']>): Promise<Outcome<CommandResult, Throws>> {
    return this.execute(...args)
  }

  /** The same as `execute`. @example `await session.command.exec('ls')` */
  exec(...args: Parameters<Command['execute']>): Promise<Outcome<CommandResult, Throws>> {
    return this.execute(...args)
  }
}

function checkEnvs(envs: unknown): void {
  if (envs === undefined) return
  const bad = isObject(envs)
    ? Object.entries(envs).find(([, value]) => typeof value !== 'string')
    : ['', envs]
  if (bad !== undefined) {
    throw new InvalidArgumentError(
      `Invalid environment variables: all keys and values must be strings; \`envs.${bad[0]}\` is a ${typeof bad[1]}`,
    )
  }
}

function exited({ text, requestId }: ToolAnswer): CommandResult {
  const said = parseJson(text)
  if (isObject(said) && 'stdout' in said) return read(said, requestId)
  return { requestId, success: true, output: text, exitCode: 0, stdout: '', stderr: '', traceId: '' }
}

/** A command that ran and failed says so in a tool's failure. */
function refused(error: unknown): CommandResult {
  const said = error instanceof ToolError ? parseJson(error.message) : undefined
  if (!(error instanceof AGBError) || !isObject(said)) throw error
  const result = read(said, error.requestId)
  return { ...result, success: false, errorMessage: result.errorMessage ?? error.message }
}

function read(said: JsonObject, requestId: string): CommandResult {
  const [stdout, stderr] = [textOf(said.stdout), textOf(said.stderr)]
  const code = said.exit_code ?? said.errorCode
  const exitCode = typeof code === 'number' ? code : 0
  const result = {
    requestId,
    output: stdout + stderr,
    exitCode,
    stdout,
    stderr,
    traceId: textOf(said.traceId),
  }
  if (exitCode === 0) return { ...result, success: true }
  return { ...result, success: false, errorMessage: stderr || `the command exited with ${exitCode}` }
}
