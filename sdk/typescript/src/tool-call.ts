/** How a tool is called: on the session's link where it has one, else on the API. */

import type { Client } from './client.js'
import { refusalOf } from './client.js'
import { APIError, goneSession, ToolError } from './errors.js'
import { isObject, listOf, objectOf, textOf, unwrapJson } from './json.js'
import type { CallOptions } from './options.js'
import type { McpTool } from './results.js'
import type { WsClient } from './stream.js'

/** What the modules of a session need of it. */
export interface SessionLike {
  /** The API key that it was made with. */
  getApiKey(): string
  /** Its id. */
  getSessionId(): string
  /** The client that it was made with. */
  getClient(): Client
  /** Where its tools are called directly. */
  linkUrl?: string
  /** The credential for `linkUrl`. */
  token?: string
  /** JSON text of the tools that it has. */
  toolList?: string
  /** The tools that it has. */
  mcpTools?: McpTool[]
  /** Its stream. @internal */
  _getWsClient?(): WsClient
}

/** What a tool said. */
export interface ToolAnswer {
  /** Its text, or its picture in base64; empty if it said nothing. */
  text: string
  requestId: string
}

/** What a call may take beyond the time that its tool gives itself: the way, and waiting for its turn. */
const PATIENCE_MS = 30_000

/** Milliseconds that are waited for something that gives itself `ownMs`, if nobody says otherwise. */
export function patience(client: Client, ownMs: number | undefined): number {
  return ownMs === undefined ? client.http.timeoutMs : Math.max(client.http.timeoutMs, ownMs + PATIENCE_MS)
}

/** Milliseconds that a tool gives itself, by its arguments. */
function ownTime({ timeout_ms: ms, timeout_s: seconds }: Record<string, unknown>): number | undefined {
  if (typeof ms === 'number') return ms
  return typeof seconds === 'number' ? seconds * 1000 : undefined
}

/** Calls a tool. Throws a `ToolError` in the tool's words when it fails. */
export async function callTool(
  session: SessionLike,
  tool: string,
  args: Record<string, unknown>,
  options: CallOptions = {},
): Promise<ToolAnswer> {
  const client = session.getClient()
  const timeoutMs = options.timeoutMs ?? patience(client, ownTime(args))
  const call = { ...options, timeoutMs }
  const server = serverOf(session.toolList, tool)
  const { requestId, result, first } =
    session.linkUrl && session.token && server !== undefined
      ? await byLink(client, session.linkUrl, session.token, server, tool, args, call)
      : await byApi(client, session.getSessionId(), tool, args, call)
  const text = content(result, first)
  if (result.isError !== true) return { text, requestId }
  const extra = { tool, requestId }
  throw goneSession(text, extra) ?? new ToolError(text || `\`${tool}\` failed and did not say why`, extra)
}

interface Answered {
  requestId: string
  result: Record<string, unknown>
  /** Whether only the first block of the content counts. */
  first: boolean
}

async function byApi(
  client: Client,
  sessionId: string,
  name: string,
  args: Record<string, unknown>,
  options: CallOptions,
): Promise<Answered> {
  const parameters = { sessionId, name, args: JSON.stringify(args) }
  const { requestId, data } = await client.callMcpTool(parameters, options)
  return { requestId, result: objectOf(data), first: false }
}

async function byLink(
  client: Client,
  linkUrl: string,
  token: string,
  server: string,
  tool: string,
  args: Record<string, unknown>,
  options: CallOptions,
): Promise<Answered> {
  const requestId = `link-${Date.now()}-${String(Math.floor(Math.random() * 1e9)).padStart(9, '0')}`
  const { statusCode, headers, body, json } = await client.http.send({
    ...options,
    method: 'POST',
    url: `${linkUrl.replace(/\/+$/, '')}/callTool`,
    headers: { 'content-type': 'application/json', 'x-access-token': token },
    body: JSON.stringify({ args, server, requestId, tool, token }),
  })
  const envelope = objectOf(json)
  if (statusCode < 200 || statusCode > 299) {
    throw refusalOf(
      statusCode,
      envelope,
      body,
      textOf(envelope.requestId) || headers['x-request-id'] || requestId,
    )
  }
  const result = objectOf(unwrapJson(envelope.data)).result
  if (!isObject(result)) {
    throw new APIError('the link answered without a result of the tool', statusCode, { requestId })
  }
  return { requestId, result, first: true }
}

function content(result: Record<string, unknown>, first: boolean): string {
  const blocks = listOf(result.content)
  const texts = blocks.filter((block) => isObject(block) && typeof block.text === 'string')
  if (texts.length > 0 && !first) return texts.map((block) => textOf(objectOf(block).text)).join('\n')
  const [block] = blocks
  if (typeof block === 'string') return block
  const { text, blob, data } = objectOf(block)
  return textOf(text) || textOf(blob) || textOf(data)
}

const serversOfLists = new Map<string, Map<string, string>>()

/** The server of a tool, as the session's list of tools names it. */
export function serverOf(toolList: string | undefined, tool: string): string | undefined {
  if (!toolList) return undefined
  let servers = serversOfLists.get(toolList)
  if (servers === undefined) {
    servers = new Map()
    for (const item of listOf(unwrapJson(toolList)).map(objectOf)) {
      const name = textOf(item.name) || textOf(item.Name)
      const server = textOf(item.server) || textOf(item.serverName) || textOf(item.Server)
      if (name !== '' && server !== '') servers.set(name, server)
    }
    // Sessions of one image have the same list; there are as many as images.
    if (serversOfLists.size > 100) serversOfLists.clear()
    serversOfLists.set(toolList, servers)
  }
  return servers.get(tool)
}
