/**
 * Keeps a paste in order: first the text, then the key that pastes it.
 *
 * Stands before the keyboard. A key-down that pastes is left to the browser, which answers with a `paste` event that
 * carries the text without asking for any permission. Until then, or for a moment if none comes, that key and all that follow
 * wait, and are then delivered in their order: the keyboard sees what it would have seen. If the focus goes, none is.
 */

import { type Keyboard, type KeyInput, letterOf, type ModifierState, type Platform } from './keyboard.ts'

/** The browser's `paste` event follows its key-down in the same instant; longer is nothing on the clipboard. */
export const PASTE_WAIT_MS = 60

/** What to do with the text of a `paste` event. */
export type PasteVerdict =
  /** It goes to the session. */
  | 'send'
  /** The session has it already, or there is no text: the key alone pastes. */
  | 'keep'
  /** It may not go there: pasting would paste something else. */
  | 'refuse'

export interface PasteTarget {
  /** Whether this computer's clipboard may go into the session at all. */
  enabled(): boolean
  judge(text: string): PasteVerdict
  send(text: string): void
}

export class Paste {
  readonly #keyboard: Keyboard
  readonly #target: PasteTarget
  readonly #platform: Platform
  /** The key that waits for its text, and everything that came after it. */
  #waiting: { key: KeyInput; later: (() => void)[]; timer: ReturnType<typeof setTimeout> } | null = null
  /** A key has pasted without its text: a `paste` event that comes now is late, not another one. */
  #late = false

  constructor(keyboard: Keyboard, target: PasteTarget, platform: Platform) {
    this.#keyboard = keyboard
    this.#target = target
    this.#platform = platform
  }

  /** Takes a key-down. Returns whether the browser must not act on it. */
  keyDown(event: KeyInput): boolean {
    if (this.#waiting) {
      this.#waiting.later.push(() => this.#keyboard.keyDown(event))
      return true
    }
    this.#late = false
    if (!this.#isPaste(event)) return this.#keyboard.keyDown(event)
    this.#waiting = { key: event, later: [], timer: setTimeout(() => this.flush(), PASTE_WAIT_MS) }
    return false
  }

  keyUp(event: KeyInput): boolean {
    if (!this.#waiting) return this.#keyboard.keyUp(event)
    this.#waiting.later.push(() => this.#keyboard.keyUp(event))
    return true
  }

  observe(event: ModifierState): void {
    // The event after the wait will tell as well.
    if (!this.#waiting) this.#keyboard.observe(event)
  }

  observePress(event: ModifierState): void {
    this.flush()
    this.#late = false
    this.#keyboard.observePress(event)
  }

  text(text: string): void {
    this.flush()
    this.#keyboard.text(text)
  }

  tap(code: string, key: string): void {
    this.flush()
    this.#keyboard.tap(code, key)
  }

  /** The browser pastes `text`; empty if its clipboard holds none. */
  pasted(text: string): void {
    if (!this.#target.enabled()) {
      this.flush()
      return
    }
    const verdict = text === '' ? 'keep' : this.#target.judge(text)
    if (verdict === 'send') this.#target.send(text)
    if (this.#waiting) {
      this.#deliver(verdict !== 'refuse')
    } else if (this.#late) {
      this.#late = false
    } else if (verdict !== 'refuse' && text !== '') {
      // From the browser's menu: no key stands for it.
      this.#keyboard.shortcut('KeyV', 'v')
    }
  }

  /** What waits is waited for no longer. */
  flush(): void {
    if (!this.#waiting) return
    this.#late = true
    this.#deliver(true)
  }

  releaseAll(force = false): void {
    this.#drop()
    this.#keyboard.releaseAll(force)
  }

  forget(): void {
    this.#drop()
    this.#keyboard.forget()
  }

  #deliver(withKey: boolean): void {
    const waiting = this.#waiting
    this.#drop()
    if (!waiting) return
    if (withKey) this.#keyboard.keyDown(waiting.key)
    for (const act of waiting.later) act()
  }

  #drop(): void {
    if (this.#waiting) clearTimeout(this.#waiting.timer)
    this.#waiting = null
  }

  /** A repeated key pastes again by itself, the text is there already. */
  #isPaste(event: KeyInput): boolean {
    if (event.repeat || event.altKey || event.isComposing || event.keyCode === 229) return false
    if (!this.#target.enabled()) return false
    if (this.#platform === 'mac') return event.metaKey && !event.ctrlKey && letterOf(event) === 'v'
    if (event.metaKey || event.getModifierState('AltGraph')) return false
    if (event.key === 'Insert') return event.shiftKey && !event.ctrlKey
    return event.ctrlKey && letterOf(event) === 'v'
  }
}
