/**
 * What the two clipboards are known to hold, and what of the session's is not on this computer yet. Pure.
 *
 * In: texts that are pasted here, clipboard messages of the session, word that something was written. Out: whether a
 * text needs to travel, and the {@link Offer}. Rights are the caller's concern.
 */

import { utf8 } from './bytes.ts'
import type { PasteVerdict } from './paste.ts'
import { CLIPBOARD_TEXT_BYTES_MAX, type ClipboardMessage } from './share.ts'

/** What the session's clipboard has for this computer. */
export interface Offer {
  /** `announced` has to be fetched first. */
  readonly content: ClipboardMessage
  /** It is on this computer's clipboard already. */
  readonly taken: boolean
}

export class Clipboard {
  /** The text that both sides hold, as far as this page knows. */
  #shared: string | null = null
  #offer: Offer | null = null

  get offer(): Offer | null {
    return this.#offer
  }

  /** A text is pasted into the session. */
  judge(text: string): PasteVerdict {
    if (text === this.#shared) return 'keep'
    // A character takes at least a byte and at most three: most texts need no counting.
    if (text.length > CLIPBOARD_TEXT_BYTES_MAX) return 'refuse'
    if (text.length * 3 > CLIPBOARD_TEXT_BYTES_MAX && utf8.encode(text).length > CLIPBOARD_TEXT_BYTES_MAX) {
      return 'refuse'
    }
    return 'send'
  }

  /** A text went to the session, which holds nothing else now. */
  sent(text: string): void {
    this.#shared = text
    this.#offer = null
  }

  /** The session's clipboard has changed, or what was asked for has come. */
  received(content: ClipboardMessage): void {
    // Some clipboards tell of what was just put into them.
    if (content.kind === 'text' && content.text === this.#shared) return
    this.#shared = null
    this.#offer = { content, taken: false }
  }

  /** The offer is on this computer's clipboard. */
  taken(): void {
    if (!this.#offer) return
    const { content } = this.#offer
    this.#shared = content.kind === 'text' ? content.text : null
    this.#offer = { content, taken: true }
  }

  /** The connection is a new one: its session may hold something else. */
  forget(): void {
    this.#shared = null
    this.#offer = null
  }
}
