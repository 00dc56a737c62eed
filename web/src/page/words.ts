/** What the page says in each state. Text only: how it looks is the style sheet's concern. */

import { holds, nameOf, type Obstacle, type Room } from '../view/room.ts'
import type { EndReason, View } from '../view/state.ts'

/** What the overlay shows. `remedy` is how to see a picture again, once this page cannot. */
export interface Words {
  readonly title: string
  readonly text: string
  readonly detail: string
  readonly remedy: { readonly text: string; readonly code: string } | null
}

export function wordsFor(view: View, sessionId: string | null): Words {
  switch (view.state) {
    case 'connecting':
      return {
        title: 'Connecting to the desktop',
        text: sentence(view.reason ?? ''),
        detail: view.attempt > 1 ? `Attempt ${view.attempt}` : (sessionId ?? ''),
        remedy: null,
      }
    case 'live':
      return { title: 'Live', text: '', detail: '', remedy: null }
    case 'reconnecting':
      return {
        title: 'Reconnecting',
        text: `${sentence(view.reason)} This is the last picture that arrived.`,
        detail: `Attempt ${view.attempt}`,
        remedy: null,
      }
    case 'paused':
      return {
        title: 'This session is paused',
        text: sentence(view.message),
        detail: sessionId ?? '',
        remedy: null,
      }
    case 'ended':
      return {
        title: END_TITLES[view.reason],
        text: sentence(view.message) || END_TEXTS[view.reason],
        detail: sessionId ?? '',
        remedy: remedyFor(view.reason, sessionId),
      }
  }
}

const END_TITLES: Record<EndReason, string> = {
  expired: 'This link has expired',
  unknown: 'There is no live view here',
  released: 'This session has ended',
  idle: 'This session ended while idle',
  lifetime: 'This session reached the end of its lifetime',
  crashed: 'This session stopped unexpectedly',
  ended: 'This session has ended',
}

const END_TEXTS: Record<EndReason, string> = {
  expired: 'Live view links work for a limited time. The session itself may still be running.',
  unknown: 'The server does not know this link. It may be incomplete, or of a session that is long gone.',
  released: 'It was released by its owner.',
  idle: 'Nobody used it for a while, so it was released.',
  lifetime: 'Sessions run for a limited time.',
  crashed: 'Its sandbox is gone. Nothing that was only in it can be recovered.',
  ended: 'Its desktop is gone.',
}

function remedyFor(reason: EndReason, sessionId: string | null) {
  if (reason === 'expired') {
    return {
      text: 'Call session.info() again: it gives a fresh resource_url for the same session.',
      code: [
        `session = agb.get("${sessionId ?? 'SESSION_ID'}").session`,
        'print(session.info().data["resource_url"])',
      ].join('\n'),
    }
  }
  return {
    text: 'To watch a session, create one and open the resource_url that session.info() gives.',
    code: [
      'params = CreateSessionParams(image_id="agb-code-space-1")',
      'session = agb.create(params).session',
      'print(session.info().data["resource_url"])',
    ].join('\n'),
  }
}

/** Who controls, for this viewer to read. */
export function controlWords(room: Room): string {
  if (holds(room)) return 'You have control'
  if (room.holder !== null) return `${nameOf(room, room.holder)} has control`
  return room.rights.has('control') ? 'Nobody has control. Act, and you have it' : 'You are watching'
}

/** Why a click or a key did nothing. */
export function obstacleWords(room: Room | null, obstacle: Obstacle): string {
  return obstacle.kind === 'watching' ? 'You are watching' : `${nameOf(room, obstacle.by)} has control`
}

/** The server's and the connection's reasons are written as parts of a sentence. */
function sentence(text: string): string {
  if (text === '') return ''
  const capital = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`
}
