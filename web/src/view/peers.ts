/**
 * The pointers of the agent and of other people, as they are to be drawn. Pure.
 *
 * In: pointer messages, the time, who looks. Out: a list of {@link Peer}. A session may claim anyone to move: the list is bounded.
 */

import type { PeerPointer } from './share.ts'

/** A pointer that nothing was heard of for so long is gone. */
export const PEER_FADE_MS = 3000

/** Types until nothing more was heard for so long. */
export const PEER_TYPES_MS = 900

const PEERS_MAX = 32

/** How many colours people have; the agent has its own. */
export const PEER_COLOURS = 6

export interface Peer {
  readonly key: string
  readonly agent: boolean
  readonly viewer: number
  readonly x: number
  readonly y: number
  /** Holds a button down. */
  readonly pressed: boolean
  /** Counts the presses: another number, another ripple. */
  readonly presses: number
  readonly types: boolean
  readonly colour: number
}

interface Known extends Omit<Peer, 'types'> {
  readonly heardMs: number
  readonly typedMs: number
}

export class Peers {
  readonly #known = new Map<string, Known>()

  take(message: PeerPointer, nowMs: number): void {
    const { agent, viewer, x, y, action } = message
    const key = agent ? 'agent' : `viewer-${viewer}`
    const before = this.#known.get(key)
    if (!before && this.#known.size >= PEERS_MAX) return
    const typing = action === 'types'
    this.#known.set(key, {
      ...{ key, agent, viewer, x, y, heardMs: nowMs },
      pressed: action === 'down' || (action !== 'up' && before?.pressed === true),
      presses: (before?.presses ?? 0) + (action === 'down' ? 1 : 0),
      typedMs: typing ? nowMs : (before?.typedMs ?? Number.NEGATIVE_INFINITY),
      colour: viewer % PEER_COLOURS,
    })
  }

  /** Those to draw now. */
  at(nowMs: number): Peer[] {
    for (const [key, { heardMs }] of this.#known) {
      if (nowMs - heardMs >= PEER_FADE_MS) this.#known.delete(key)
    }
    return [...this.#known.values()].map(({ heardMs: _, typedMs, ...peer }) => ({
      ...peer,
      types: nowMs - typedMs < PEER_TYPES_MS,
    }))
  }

  clear(): void {
    this.#known.clear()
  }
}
