/**
 * What tests may read of the running page, as `window.__berth`. Nothing can be changed through it.
 */

import type { Connection } from '../view/connection.ts'
import type { Size } from '../view/geometry.ts'

export interface Probe {
  /** `connecting`, `live`, `reconnecting`, `paused` or `ended`. */
  readonly state: string
  /** Updates painted since the page was opened. */
  readonly framesPainted: number
  /** Number of the last input sent on the present connection; 0 before the first. */
  readonly inputSeq: number
  /** Number of the last input that a painted update has answered. */
  readonly inputSeqAcknowledged: number
  /** From input to picture, smoothed; `null` before it is known. */
  readonly latencyMs: number | null
  /** Size of the remote screen in its own pixels. */
  readonly width: number
  readonly height: number
}

declare global {
  interface Window {
    readonly __berth: Probe
  }
}

export function exposeProbe(connection: Connection, size: () => Size): void {
  const probe: Probe = {
    get state() {
      return connection.view.state
    },
    get framesPainted() {
      return connection.painted
    },
    get inputSeq() {
      return connection.figures.inputSeq
    },
    get inputSeqAcknowledged() {
      return connection.figures.inputSeqAcknowledged
    },
    get latencyMs() {
      return connection.figures.latencyMs
    },
    get width() {
      return size().width
    },
    get height() {
      return size().height
    },
  }
  Object.defineProperty(window, '__berth', { value: Object.freeze(probe) })
}
