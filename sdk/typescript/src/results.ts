/** The results of sessions, code, commands and tools. */

import type { Session } from './session.js'

/** What every answer has. */
export interface ApiResponse {
  /** Under which the server's log has the request. */
  requestId?: string
}

/** A result that is a success or says why not. */
interface Told extends ApiResponse {
  /** Whether it was done. */
  success: boolean
  /** Why not. */
  errorMessage?: string
}

/** Of `create` and `get`. */
export interface SessionResult<Throws extends boolean = false> extends Told {
  /** The session; `null` after a failure. */
  session?: Session<Throws> | null
}

/** Of `delete`. */
export interface DeleteResult extends Told {}

/** Of what has no result of its own. */
export interface OperationResult extends Told {
  /** What came out. */
  data?: unknown
}

/** Of what is done or not. */
export interface BoolResult extends Told {
  /** Whether the tool said that it was done. */
  data?: boolean
}

/** Of `AGB.getSession`. */
export interface GetSessionResult extends Told {
  /** The HTTP status; 0 if no answer came. */
  httpStatusCode: number
  /** The protocol's word. */
  code: string
  /** Where the session is reached. */
  data?: GetSessionData
}

/** Where a session is reached. */
export interface GetSessionData {
  /** The id of what the session runs in. */
  appInstanceId: string
  /** The same, under its other name. */
  resourceId: string
  /** The session's id. */
  sessionId: string
  /** Always true. */
  success: boolean
  /** The live view. A secret. */
  resourceUrl: string
  /** How it is, where the server says so. */
  status: string
  /** Where its tools are called directly. */
  linkUrl?: string
  /** Its stream. */
  wsUrl?: string
  /** The credential for both. A secret. */
  token?: string
  /** JSON text of the tools that it has. */
  toolList?: string
}

/** Of `AGB.list`. */
export interface SessionListResult extends Told {
  /** The sessions of this page, the newest first. */
  sessionIds: string[]
  /** Where the next page begins; empty after the last. */
  nextToken: string
  /** How many a page has at most. */
  maxResults: number
  /** How many there are on all pages. */
  totalCount: number
}

/** Of `Session.getStatus`. */
export interface SessionStatusResult extends Told {
  /** The HTTP status; 0 if no answer came. */
  httpStatusCode: number
  /** The protocol's word. */
  code: string
  /** `RUNNING`, `PAUSED`, ...; empty after a failure. */
  status: string
}

/** What a session uses. */
export interface SessionMetrics {
  /** Processors. */
  cpuCount: number
  /** Of all of them, in percent. */
  cpuUsedPct: number
  /** Bytes of disk. */
  diskTotal: number
  /** Bytes of it that are used. */
  diskUsed: number
  /** Bytes of memory. */
  memTotal: number
  /** Bytes of it that are used. */
  memUsed: number
  /** KB/s received. */
  rxRateKbytePerS: number
  /** KB/s sent. */
  txRateKbytePerS: number
  /** KB received. */
  rxUsedKbyte: number
  /** KB sent. */
  txUsedKbyte: number
  /** When this was so. */
  timestamp: string
}

/** Of `Session.getMetrics`. */
export interface SessionMetricsResult extends Told {
  /** What the session uses. */
  metrics?: SessionMetrics
  /** The same as the tool said it. */
  raw?: Record<string, unknown>
}

/** A tool of an image. */
export interface McpTool {
  /** Its name. */
  name: string
  /** What it does. */
  description: string
  /** JSON Schema of its arguments. */
  inputSchema: Record<string, unknown>
  /** The server that offers it. */
  server: string
  /** Its name there. */
  tool: string
}

/** Of `Session.callMcpTool`. */
export interface McpToolResult extends Told {
  /** The tool's text, or its picture in base64. */
  data?: string
}

/** Of `Session.listMcpTools`. */
export interface McpToolsResult extends Told {
  /** The tools. */
  tools: McpTool[]
}

/** Of `Command.execute`. */
export interface CommandResult extends Told {
  /** Standard output, then standard error. */
  output: string
  /** The exit code; -1 if the command did not get that far. */
  exitCode: number
  /** Standard output. */
  stdout: string
  /** Standard error. */
  stderr: string
  /** Names the run in the server's traces, where there are any. */
  traceId: string
}

/** Something that code showed, in one or more forms. */
export interface ExecutionResult {
  /** As text. */
  text?: string
  /** As HTML. */
  html?: string
  /** As Markdown. */
  markdown?: string
  /** As a PNG in base64. */
  png?: string
  /** As a JPEG in base64. */
  jpeg?: string
  /** As SVG. */
  svg?: string
  /** As JSON. */
  json?: unknown
  /** As LaTeX. */
  latex?: string
  /** A figure with its data. */
  chart?: unknown
  /** Whether it is the value of the last expression. */
  isMainResult: boolean
}

/** What code wrote. */
export interface ExecutionLogs {
  /** Standard output, in pieces. */
  stdout: string[]
  /** Standard error, in pieces. */
  stderr: string[]
}

/** Why code failed. */
export interface ExecutionError {
  /** The class of the exception. */
  name: string
  /** Its text. */
  value: string
  /** Where it happened. */
  traceback: string
}

/** Of `Code.run`. */
export interface EnhancedCodeExecutionResult extends ApiResponse {
  /** How many runs there were in this language, with this one. */
  executionCount?: number
  /** Seconds. */
  executionTime: number
  /** What was written. */
  logs: ExecutionLogs
  /** What was shown. */
  results: ExecutionResult[]
  /** The exception. */
  error?: ExecutionError
  /** The exception in one line, or why there was no run; else empty. */
  errorMessage: string
  /** Whether the code ended without an exception. */
  success: boolean
}
