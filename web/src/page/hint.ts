/** A short message at the lower edge, which goes by itself; perhaps with one thing to do about it. */

import { element, makeButton } from './elements.ts'

const SHOWN_MS = 5000

export class Hint {
  readonly #hint = element('hint', HTMLElement)
  readonly #text = element('hint-text', HTMLElement)
  #timer: ReturnType<typeof setTimeout> | null = null

  say(text: string, action?: { label: string; act: () => void }): void {
    this.#text.textContent = text
    const button =
      action &&
      makeButton(action.label, () => {
        action.act()
        this.hide()
      })
    this.#hint.replaceChildren(this.#text, ...(button ? [button] : []))
    this.#hint.toggleAttribute('data-shown', true)
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.hide(), SHOWN_MS)
  }

  hide(): void {
    this.#hint.toggleAttribute('data-shown', false)
  }
}
