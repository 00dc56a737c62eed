/**
 * What arrives in the text area that the keys go to. Every key that is sent as a key is kept from it; what still arrives was
 * made by a dead key, an input method, a picker or the keyboard of a touch screen, and is text or an edit.
 *
 * In: the events of composition and input (any object with the fields used); out: text and taps for the keyboard. Pure.
 */

/** Takes what was typed. */
export interface TypingTarget {
  text(text: string): void
  /** Presses and releases one key that no key event stands for. */
  tap(code: string, key: string): void
}

/** What is used of an `InputEvent`. */
export interface Edit {
  readonly inputType: string
  readonly data: string | null
  readonly isComposing: boolean
}

/** The keys that stand for edits. */
const EDIT_KEYS: Readonly<Record<string, string>> = {
  deleteContentBackward: 'Backspace',
  deleteWordBackward: 'Backspace',
  deleteContentForward: 'Delete',
  insertLineBreak: 'Enter',
  insertParagraph: 'Enter',
}

export class Typing {
  readonly #target: TypingTarget
  #composing = false

  constructor(target: TypingTarget) {
    this.#target = target
  }

  get composing(): boolean {
    return this.#composing
  }

  compositionStart(): void {
    this.#composing = true
  }

  /** `data`: what was composed; empty if it was given up. */
  compositionEnd(data: string): void {
    if (!this.#composing) return
    this.#composing = false
    this.#target.text(data)
  }

  /** The focus is gone: an input method that is cut off says so in some browsers only. */
  abandon(): void {
    this.#composing = false
  }

  /** Takes a `beforeinput`. Returns whether it was taken, so that nothing of it may reach the text area. */
  edit(edit: Edit): boolean {
    // The composition's own edits; its end brings the text.
    if (this.#composing || edit.isComposing) return false
    const key = EDIT_KEYS[edit.inputType]
    if (key !== undefined) this.#target.tap(key, key)
    else if (edit.inputType === 'insertText' || edit.inputType === 'insertReplacementText') {
      this.#target.text(edit.data ?? '')
    } else return false
    return true
  }
}
