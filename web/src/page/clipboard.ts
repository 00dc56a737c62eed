/**
 * Brings the session's clipboard to this computer, without a question where the browser allows it.
 *
 * Text is written as soon as it comes. If the browser wants a gesture for that, the next click or key in the page is one;
 * until then the button has a dot. Pictures and long texts are fetched when the button is clicked, and become a
 * download where a page may not put them on the clipboard.
 */

import { Clipboard } from '../view/clipboard.ts'
import { sizeInWords } from '../view/files.ts'
import type { ClipboardMessage } from '../view/share.ts'
import { download } from './download.ts'
import { element, label } from './elements.ts'
import type { Hint } from './hint.ts'

export interface ClipboardPort {
  /** Whether the session's clipboard may come to this computer. */
  allowed(): boolean
  fetch(): void
}

export class ClipboardButton {
  readonly clipboard = new Clipboard()
  readonly #button = element('toolbar-clipboard', HTMLButtonElement)
  readonly #port: ClipboardPort
  readonly #keys: HTMLTextAreaElement
  readonly #hint: Hint
  /** Takes the picture that was asked for. */
  #arrived: ((picture: Blob) => void) | null = null

  constructor(port: ClipboardPort, keys: HTMLTextAreaElement, hint: Hint) {
    this.#port = port
    this.#keys = keys
    this.#hint = hint
    this.#button.addEventListener('click', () => this.#take())
    for (const type of ['pointerdown', 'pointerup', 'keydown'] as const) {
      window.addEventListener(type, () => this.#useGesture(), { capture: true, passive: true })
    }
    this.refresh()
  }

  receive(content: ClipboardMessage): void {
    if (!this.#port.allowed()) return
    this.clipboard.received(content)
    this.refresh()
    if (content.kind === 'text') void this.#writeText(content.text, false)
    else if (content.kind === 'picture') {
      this.#arrived?.(pictureOf(content.png))
      this.#arrived = null
    }
  }

  forget(): void {
    this.#arrived = null
    this.clipboard.forget()
    this.refresh()
  }

  /** Shows what there is to take. */
  refresh(): void {
    const { offer } = this.clipboard
    this.#button.hidden = !offer || !this.#port.allowed()
    if (!offer) return
    this.#button.toggleAttribute('data-news', !offer.taken)
    label(this.#button, offer.taken ? 'Copied to this computer' : wordsFor(offer.content))
  }

  /** The button was clicked. */
  #take(): void {
    const content = this.clipboard.offer?.content
    if (!content || !this.#port.allowed()) return
    if (content.kind === 'text') void this.#writeText(content.text, true)
    else if (content.kind === 'picture') void this.#writePicture(Promise.resolve(pictureOf(content.png)))
    else {
      if (content.what === 'picture') {
        // Begun within the click, as some browsers demand, though the picture has yet to come.
        void this.#writePicture(
          new Promise((resolve) => {
            this.#arrived = resolve
          }),
        )
      }
      this.#port.fetch()
    }
  }

  async #writeText(text: string, asked: boolean): Promise<void> {
    const written =
      (document.hasFocus() && (await succeeds(navigator.clipboard?.writeText(text)))) ||
      this.#copyCommand(text)
    if (written) this.#taken(text)
    else if (asked) {
      download(new Blob([text], { type: 'text/plain' }), 'clipboard.txt')
      this.#taken(text)
    }
  }

  async #writePicture(picture: Promise<Blob>): Promise<void> {
    const written =
      typeof ClipboardItem === 'function' &&
      (await succeeds(navigator.clipboard?.write([new ClipboardItem({ 'image/png': picture })])))
    if (!written) download(await picture, 'clipboard.png')
    this.#hint.say(written ? 'The picture is on this computer’s clipboard' : 'The picture was downloaded')
    this.clipboard.taken()
    this.refresh()
  }

  /** Something waits for a gesture, and here is one. */
  #useGesture(): void {
    const offer = this.clipboard.offer
    if (!offer || offer.taken || offer.content.kind !== 'text' || !this.#port.allowed()) return
    if (this.#copyCommand(offer.content.text)) this.#taken(offer.content.text)
    else void this.#writeText(offer.content.text, false)
  }

  #taken(text: string): void {
    const content = this.clipboard.offer?.content
    // Another one may have come while this one was written.
    if (content?.kind === 'text' && content.text === text) this.clipboard.taken()
    this.refresh()
  }

  /** The old way, which needs a gesture and nothing else: not even a secure origin. */
  #copyCommand(text: string): boolean {
    let written = false
    const allow = (event: Event) => event.preventDefault()
    const copy = (event: ClipboardEvent) => {
      event.preventDefault()
      event.stopImmediatePropagation()
      event.clipboardData?.setData('text/plain', text)
      written = event.clipboardData !== null
    }
    document.addEventListener('beforecopy', allow, { capture: true, once: true })
    document.addEventListener('copy', copy, { capture: true })
    // Some browsers copy only while something is selected.
    const placeholder = this.#keys.value === '' && document.activeElement === this.#keys
    if (placeholder) {
      this.#keys.value = ' '
      this.#keys.select()
    }
    const done = document.execCommand('copy')
    if (placeholder) this.#keys.value = ''
    document.removeEventListener('beforecopy', allow, { capture: true })
    document.removeEventListener('copy', copy, { capture: true })
    return done && written
  }
}

function pictureOf(png: Uint8Array<ArrayBuffer>): Blob {
  return new Blob([png], { type: 'image/png' })
}

function wordsFor(content: ClipboardMessage): string {
  if (content.kind !== 'announced') return 'Copy to this computer'
  return `Copy the ${content.what} (${sizeInWords(content.bytes)}) to this computer`
}

/** `undefined`: this browser, or this origin, has no such thing. */
async function succeeds(attempt: Promise<void> | undefined): Promise<boolean> {
  if (!attempt) return false
  try {
    await attempt
    return true
  } catch {
    return false
  }
}
