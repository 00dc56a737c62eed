/** The applications of a session. */

import { ApplicationError } from '../errors.js'
import { isObject, type JsonObject, listOf, parseJson } from '../json.js'
import type { CallOptions } from '../options.js'
import type { Outcome } from '../outcome.js'
import { BaseService } from '../service.js'
import type { AppOperationResult, InstalledAppListResult, ProcessInfo, ProcessListResult } from './result.js'

/**
 * The applications of the desktop.
 *
 * @example
 * ```ts
 * const { data } = await session.computer.app.start('xterm')
 * await session.computer.app.stopByPid(data[0]?.pid ?? 0)
 * ```
 */
export class ApplicationManager<Throws extends boolean = false> extends BaseService<Throws> {
  /** @internal */
  protected override get errorClass() {
    return ApplicationError
  }

  /** Starts an application. @example `await session.computer.app.start('xterm', '/home/user')` */
  start(
    command: string,
    workDirectory = '',
    activity = '',
    options?: CallOptions,
  ): Promise<Outcome<ProcessListResult, Throws>> {
    const args: JsonObject = { start_cmd: command }
    if (workDirectory) args.work_directory = workDirectory
    if (activity) args.activity = activity
    return this.#processes('start_app', args, options)
  }

  /** Stops all processes of a name. @example `await session.computer.app.stopByPname('xterm')` */
  stopByPname(processName: string, options?: CallOptions): Promise<Outcome<AppOperationResult, Throws>> {
    return this.#stop('stop_app_by_pname', { pname: processName }, options)
  }

  /** Stops a process. @example `await session.computer.app.stopByPid(1234)` */
  stopByPid(pid: number, options?: CallOptions): Promise<Outcome<AppOperationResult, Throws>> {
    return this.#stop('stop_app_by_pid', { pid }, options)
  }

  /** Stops what a command stops. @example `await session.computer.app.stopByCmd('kill -9 1234')` */
  stopByCmd(stopCmd: string, options?: CallOptions): Promise<Outcome<AppOperationResult, Throws>> {
    return this.#stop('stop_app_by_cmd', { stop_cmd: stopCmd }, options)
  }

  /** What can be started. @example `const { data } = await session.computer.app.listInstalled()` */
  listInstalled(
    startMenu = true,
    desktop = false,
    ignoreSystemApps = true,
    options?: CallOptions,
  ): Promise<Outcome<InstalledAppListResult, Throws>> {
    return this.attempt<InstalledAppListResult>(
      options,
      async () => {
        const args = { start_menu: startMenu, desktop, ignore_system_apps: ignoreSystemApps }
        const { text, requestId } = await this.tool('get_installed_apps', args, options)
        return { requestId, success: true, data: listOf(parseJson(text)).filter(isObject) }
      },
      { data: [] },
    )
  }

  /** What has a window. @example `const { data } = await session.computer.app.getVisible()` */
  getVisible(options?: CallOptions): Promise<Outcome<ProcessListResult, Throws>> {
    return this.#processes('list_visible_apps', {}, options)
  }

  #processes(
    tool: string,
    args: JsonObject,
    options: CallOptions | undefined,
  ): Promise<Outcome<ProcessListResult, Throws>> {
    return this.attempt<ProcessListResult>(
      options,
      async () => {
        const { text, requestId } = await this.tool(tool, args, options)
        const data = listOf(parseJson(text)).filter(isObject).map(named)
        return { requestId, success: true, data }
      },
      { data: [] },
    )
  }

  #stop(
    tool: string,
    args: JsonObject,
    options: CallOptions | undefined,
  ): Promise<Outcome<AppOperationResult, Throws>> {
    return this.attempt<AppOperationResult>(options, async () => {
      const { requestId } = await this.tool(tool, args, options)
      return { requestId, success: true }
    })
  }
}

/** A process as the tool says it, also with `name`. */
function named(said: JsonObject): ProcessInfo {
  return typeof said.pname === 'string' ? { name: said.pname, ...said } : said
}
