/**
 * How the screen lies in the window: scaled, pixel by pixel, or the remote screen takes the window's size.
 *
 * The last changes the session for everybody, so only who controls it (or could) makes it do so.
 */

import { RESIZE_MIN, Resizer, remoteSizeFor } from '../view/resize.ts'
import { mayResize, type Room } from '../view/room.ts'
import type { Details } from './details.ts'
import { element } from './elements.ts'
import { remember, remembered } from './settings.ts'
import type { Stage } from './stage.ts'

const MODES = ['fit', 'actual', 'match'] as const
type Mode = (typeof MODES)[number]

export class ScreenMenu {
  readonly button = element('toolbar-screen', HTMLButtonElement)
  readonly panel = element('screen-menu', HTMLElement)
  readonly #stage: Stage
  readonly #resizer: Resizer
  readonly #details: HTMLButtonElement
  #mode: Mode = MODES.find((mode) => mode === remembered('screen')) ?? 'fit'
  #room: Room | null = null

  constructor(stage: Stage, details: Details, resize: (size: { width: number; height: number }) => void) {
    this.#stage = stage
    this.#resizer = new Resizer(resize)
    for (const mode of MODES) {
      item(mode).addEventListener('click', () => {
        this.#mode = mode
        remember('screen', mode)
        this.#resizer.forget()
        this.#refresh()
      })
    }
    this.#details = element('screen-details', HTMLButtonElement)
    this.#details.addEventListener('click', () => {
      details.shown = !details.shown
      this.#details.setAttribute('aria-checked', String(details.shown))
    })
    this.#details.setAttribute('aria-checked', String(details.shown))
    stage.onWindow = () => this.#match()
    this.#refresh()
  }

  setRoom(room: Room | null): void {
    this.#room = room
    if (!room) this.#resizer.forget()
    this.#refresh()
  }

  #refresh(): void {
    const offered = this.#room?.resizable === true
    const mode = this.#mode === 'match' && !offered ? 'fit' : this.#mode
    for (const one of MODES) item(one).setAttribute('aria-checked', String(one === mode))
    item('match').hidden = !offered
    item('match').disabled = !mayResize(this.#room)
    this.#stage.mode = mode === 'actual' ? 'actual' : 'fit'
    this.#match()
  }

  #match(): void {
    if (this.#mode !== 'match' || !this.#room || !mayResize(this.#room)) return
    const window = this.#stage.window
    // A page in the background of a phone, or a folded frame, is no size to have.
    if (window.width * window.height < (RESIZE_MIN.width * RESIZE_MIN.height) / 16) return
    this.#resizer.want(remoteSizeFor(window, devicePixelRatio, this.#room.maxSize), this.#stage.size)
  }
}

function item(mode: Mode): HTMLButtonElement {
  return element(`screen-${mode}`, HTMLButtonElement)
}
