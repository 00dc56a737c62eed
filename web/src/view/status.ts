/**
 * What the server says about the page's URL and the session behind it, as JSON at `./status`.
 *
 * In: a response body; out: a {@link Status}, or `null` if this is no answer of ours (a proxy's error page, say).
 * The HTTP status does not matter: a URL that has expired answers 410 with the same document.
 */

export type StatusState = 'live' | 'paused' | 'expired' | 'ended' | 'unknown'

export interface Status {
  readonly state: StatusState
  /** For a person to read; may be empty. */
  readonly message: string
  /** Why the session ended: `released`, `idle`, `lifetime`, `crashed`, or one of a newer server. */
  readonly reason: string | null
  readonly sessionId: string | null
  readonly image: string | null
  /** When this URL stops to work, in Unix milliseconds. */
  readonly expiresAtMs: number | null
}

const STATES: readonly StatusState[] = ['live', 'paused', 'expired', 'ended', 'unknown']

export function parseStatus(body: unknown): Status | null {
  if (typeof body !== 'object' || body === null) return null
  const fields = body as Record<string, unknown>
  const state = STATES.find((known) => known === fields.state)
  if (!state) return null
  return {
    state,
    message: text(fields.message) ?? '',
    reason: text(fields.reason),
    sessionId: text(fields.sessionId),
    image: text(fields.image),
    expiresAtMs: typeof fields.expiresAt === 'number' ? fields.expiresAt : null,
  }
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
