/** The figures of the view, for whoever asks for them: how quick, how much, how. */

import type { Connection } from '../view/connection.ts'
import type { Size } from '../view/geometry.ts'
import { element } from './elements.ts'
import { remember, remembered } from './settings.ts'

/** Read by a person: more often would only flicker. */
const EVERY_MS = 1000

export class Details {
  readonly #panel = element('details', HTMLElement)
  readonly #connection: Connection
  readonly #size: () => Size
  #timer: ReturnType<typeof setInterval> | null = null
  #before = { ms: 0, painted: 0, bytes: 0 }

  constructor(connection: Connection, size: () => Size) {
    this.#connection = connection
    this.#size = size
    if (remembered('details') === 'on') this.shown = true
  }

  get shown(): boolean {
    return this.#timer !== null
  }

  set shown(shown: boolean) {
    remember('details', shown ? 'on' : 'off')
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = shown ? setInterval(() => this.#tell(), EVERY_MS) : null
    this.#panel.hidden = !shown
    this.#tell()
  }

  #tell(): void {
    const { figures, painted } = this.#connection
    const before = this.#before
    this.#before = { ms: performance.now(), painted, bytes: figures.bytesReceived }
    const seconds = (this.#before.ms - before.ms) / 1000
    const perSecond = (count: number) => Math.round(Math.max(0, count) / Math.max(seconds, 0.001))
    const { width, height } = this.#size()
    const latency = figures.latencyMs === null ? '–' : `${Math.round(figures.latencyMs)} ms`
    const fresh = seconds < EVERY_MS * 0.002
    for (const [name, text] of [
      ['latency', latency],
      ['frames', fresh ? String(perSecond(painted - before.painted)) : '–'],
      ['rate', fresh ? `${perSecond(((figures.bytesReceived - before.bytes) * 8) / 1000)} kbit/s` : '–'],
      ['way', figures.encoding === null ? '–' : figures.encoding === 'video' ? 'Video' : 'Tiles'],
      ['screen', `${width} × ${height}`],
    ] as const) {
      element(`details-${name}`, HTMLElement).textContent = text
    }
  }
}
