/** The results of the desktop's tools. */

import type { ApiResponse } from '../results.js'

/** A result that is a success or says why not. */
interface Told extends ApiResponse {
  /** Whether it was done. */
  success: boolean
  /** Why not. */
  errorMessage?: string
}

/** Of `MouseController.getPosition`. */
export interface CursorPosition extends Told {
  /** Column, in pixels from the left. */
  x: number
  /** Row, in pixels from the top. */
  y: number
}

/** Of `ScreenController.getSize`. */
export interface ScreenSize extends Told {
  /** Pixels. */
  width: number
  /** Pixels. */
  height: number
  /** How much larger than usual things are drawn. */
  dpiScalingFactor: number
}

/** Of `ScreenController.betaTakeScreenshot`. */
export interface ScreenshotResult extends Told {
  /** `screenshot`. */
  type?: string
  /** The picture. */
  data?: Buffer
  /** `image/png` or `image/jpeg`. */
  mimeType?: string
  /** Pixels. */
  width?: number
  /** Pixels. */
  height?: number
}

/** A window. */
export interface WindowInfo {
  /** Its id as text. */
  id?: string
  /** Its id. */
  window_id?: number
  /** What stands on it. */
  title?: string
  /** Column of its upper left corner. */
  x?: number
  /** Row of its upper left corner. */
  y?: number
  /** Pixels. */
  width?: number
  /** Pixels. */
  height?: number
  /** What else the tool says of it. */
  [key: string]: unknown
}

/** Of `WindowManager.getActiveWindow`. */
export interface WindowInfoResult extends Told {
  /** The window. */
  window?: WindowInfo
}

/** Of `WindowManager.listRootWindows`. */
export interface WindowListResult extends Told {
  /** The windows. */
  windows: WindowInfo[]
}

/** Of stopping an application. */
export interface AppOperationResult extends Told {}

/** A process with a window. */
export interface ProcessInfo {
  /** Its process id. */
  pid?: number
  /** Its name. */
  name?: string
  /** What else the tool says of it: `pname`, `cmdline`. */
  [key: string]: unknown
}

/** Of starting applications and of listing those that are visible. */
export interface ProcessListResult extends Told {
  /** The processes. */
  data: ProcessInfo[]
}

/** An application that can be started. */
export interface InstalledAppInfo {
  /** Its name. */
  name?: string
  /** What else the tool says of it: `start_cmd`, `stop_cmd`, `work_directory`. */
  [key: string]: unknown
}

/** Of `ApplicationManager.listInstalled`. */
export interface InstalledAppListResult extends Told {
  /** The applications. */
  data: InstalledAppInfo[]
}
