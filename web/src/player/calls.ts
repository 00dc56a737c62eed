/** The list of what happened beside the screen. Everything in it is text from inside a session: never HTML. */

import { make, makeButton } from '../page/elements.ts'
import { beganAt, type EventAt, type Happening, lastAt, readable, type Source } from './recording.ts'

/** Rows of the list: more would only slow the page down. The marks on the timeline are of the same. */
export const ROWS_MAX = 5000

export class Calls {
  readonly #list: HTMLElement
  readonly #rows: readonly HTMLElement[]
  readonly #begins: readonly number[]
  #current = -1

  constructor(list: HTMLElement, events: readonly EventAt[], source: Source, seek: (time: number) => void) {
    this.#list = list
    this.#begins = events.map(beganAt)
    this.#rows = events.map((event) => row(event, source, () => seek(beganAt(event))))
    list.replaceChildren(...this.#rows)
  }

  /** Marks what is on, and keeps it in sight unless somebody is reading in the list. */
  follow(time: number): void {
    const current = lastAt(this.#begins, time, (begin) => begin)
    if (current === this.#current) return
    const [from, to] = [Math.min(current, this.#current), Math.max(current, this.#current)]
    for (let at = Math.max(0, from); at <= to; at++) {
      this.#rows[at]?.toggleAttribute('data-past', at <= current)
      this.#rows[at]?.toggleAttribute('data-current', at === current)
    }
    this.#current = current
    if (!this.#list.matches(':hover')) this.#rows[current]?.scrollIntoView({ block: 'nearest' })
  }
}

export function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60]
  const two = (number: number) => String(number).padStart(2, '0')
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`
}

function row(event: EventAt, source: Source, seek: () => void): HTMLElement {
  const item = make('li', 'call')
  const head = makeButton('', seek, 'call-head')
  const text = make('pre', 'call-text', summary(event.event))
  head.append(make('span', 'call-time', clock(beganAt(event))))
  if (event.event.kind === 'tool') {
    const { name, failed, duration, who } = event.event
    head.append(
      make('span', 'call-name', name),
      make('span', 'call-note', failed ? 'failed' : length(duration)),
    )
    item.toggleAttribute('data-failed', failed)
    if (who) head.title = `called with the key “${who}”`
  } else {
    head.append(make('span', 'call-name', 'note'))
  }
  const readAll = () => {
    more.disabled = true
    source.event(event).then(
      (whole) => {
        text.textContent = summary(whole)
        item.toggleAttribute('data-whole', true)
        more.remove()
      },
      () => {
        more.disabled = false
      },
    )
  }
  const more = makeButton('Show all', readAll, 'call-more')
  item.append(head, text)
  if (event.event.kind === 'tool') item.append(more)
  return item
}

function length(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`
}

function summary(event: Happening): string {
  if (event.kind === 'note') return event.text
  const left = event.cut > 0 ? `\n… ${event.cut} bytes are not in the recording` : ''
  return `${event.arguments}\n→ ${readable(event.output)}${left}`
}
