/**
 * What the viewer sees. Pure: callers bring facts and show the answer.
 *
 * ```text
 *            +--lost--+                    +--lost--+
 *            v        |                    v        |
 * start --> connecting --picture--> live --lost--> reconnecting --picture--> live
 *                 \                   |                 /
 *                  +----- status: expired, ended, unknown ----> ended
 *                  +----- status: paused ----> paused --status: live--> connecting or reconnecting
 * ```
 *
 * Invariants: `ended` is final, a new view needs a new URL. Once there was a picture it never goes back to `connecting`,
 * because the last picture stays on the screen.
 */

import type { Status } from './status.ts'

/** `attempt` counts from 1; in `live` it is the number of the attempt that succeeded. */
export type View =
  | { state: 'connecting'; attempt: number; reason: string | null }
  | { state: 'live'; attempt: number; sinceMs: number }
  | { state: 'reconnecting'; attempt: number; reason: string }
  | { state: 'paused'; pictured: boolean; message: string }
  | { state: 'ended'; reason: EndReason; message: string }

/** The URL expired, it means nothing to the server, or the session ended (and why). */
export type EndReason = 'expired' | 'unknown' | 'released' | 'idle' | 'lifetime' | 'crashed' | 'ended'

export type ViewEvent =
  /** The first picture of a connection is on the canvas. */
  | { kind: 'picture'; nowMs: number }
  /** The connection closed, failed, or was closed because of what came over it. */
  | { kind: 'lost'; reason: string; nowMs: number }
  /** The server has answered what has become of the session. */
  | { kind: 'status'; status: Status }
  /** The server did not answer. */
  | { kind: 'unreachable' }

/** A connection that lasted so long was a good one: the next attempt starts to count, and to wait, anew. */
export const STEADY_MS = 3000

export const INITIAL: View = { state: 'connecting', attempt: 1, reason: null }

export function after(view: View, event: ViewEvent): View {
  if (view.state === 'ended') return view
  if (view.state === 'paused') return event.kind === 'status' ? toldWhilePaused(view, event.status) : view
  switch (event.kind) {
    case 'picture':
      return view.state === 'live' ? view : { state: 'live', attempt: view.attempt, sinceMs: event.nowMs }
    case 'lost':
      return lost(view, event.reason, event.nowMs)
    case 'status':
      return told(view, event.status)
    case 'unreachable':
      return view.state === 'live' ? view : { ...view, reason: 'the server cannot be reached' }
  }
}

/** A view that has or wants a connection. */
type Connected = Exclude<View, { state: 'ended' } | { state: 'paused' }>

function lost(view: Connected, reason: string, nowMs: number): View {
  if (view.state === 'connecting') return { state: 'connecting', attempt: view.attempt + 1, reason }
  const steady = view.state === 'live' && nowMs - view.sinceMs >= STEADY_MS
  return { state: 'reconnecting', attempt: steady ? 1 : view.attempt + 1, reason }
}

function told(view: Connected, status: Status): View {
  switch (status.state) {
    case 'live':
      return view
    case 'paused':
      return { state: 'paused', pictured: view.state !== 'connecting', message: status.message }
    case 'expired':
    case 'unknown':
      return { state: 'ended', reason: status.state, message: status.message }
    case 'ended':
      return { state: 'ended', reason: endReason(status.reason), message: status.message }
  }
}

function toldWhilePaused(view: Extract<View, { state: 'paused' }>, status: Status): View {
  if (status.state === 'paused') return view
  const reason = 'the session goes on'
  const connecting: Connected = { state: view.pictured ? 'reconnecting' : 'connecting', attempt: 1, reason }
  return told(connecting, status)
}

const END_REASONS: readonly EndReason[] = ['released', 'idle', 'lifetime', 'crashed']

function endReason(said: string | null): EndReason {
  return END_REASONS.find((known) => known === said) ?? 'ended'
}
