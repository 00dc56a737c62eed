/** What is shown instead of, or over, the screen: connecting, reconnecting, paused, ended. */

import type { View } from '../view/state.ts'
import { element } from './elements.ts'
import { wordsFor } from './words.ts'

/** A page that connects sooner shows the picture at once: nobody reads words for so short a time. */
const PATIENCE_MS = 400

export class Overlay {
  readonly #overlay = element('overlay', HTMLElement)
  readonly #title = element('overlay-title', HTMLElement)
  readonly #text = element('overlay-text', HTMLElement)
  readonly #detail = element('overlay-detail', HTMLElement)
  readonly #retry = element('overlay-retry', HTMLButtonElement)
  readonly #remedy = element('overlay-remedy', HTMLElement)
  readonly #remedyText = element('overlay-remedy-text', HTMLElement)
  readonly #remedyCode = element('overlay-remedy-code', HTMLElement)

  constructor(retry: () => void) {
    this.#retry.addEventListener('click', retry)
    setTimeout(() => document.body.toggleAttribute('data-waited', true), PATIENCE_MS)
  }

  show(view: View, sessionId: string | null): void {
    const words = wordsFor(view, sessionId)
    // The look of every part of the page follows from these two.
    document.body.dataset.state = view.state
    document.body.toggleAttribute('data-bad', view.state === 'ended' && view.reason === 'crashed')
    this.#overlay.setAttribute('role', view.state === 'ended' ? 'alert' : 'status')
    this.#title.textContent = words.title
    this.#text.textContent = words.text
    this.#detail.textContent = words.detail
    const again = view.state === 'connecting' && view.attempt > 1
    this.#retry.hidden = view.state !== 'reconnecting' && view.state !== 'paused' && !again
    this.#retry.textContent = view.state === 'paused' ? 'Resume' : 'Try now'
    this.#remedy.hidden = words.remedy === null
    this.#remedyText.textContent = words.remedy?.text ?? ''
    this.#remedyCode.textContent = words.remedy?.code ?? ''
  }
}
