/**
 * The pill at the upper edge: which session this is, and the buttons and panels of everything else.
 *
 * It never covers the screen for long: it comes when the pointer rests at the edge or the focus is in it, and goes when
 * they go.
 */

import type { Status } from '../view/status.ts'
import { element, label } from './elements.ts'
import { Menus } from './menus.ts'

/** Long enough to be read once, when the first picture is there. */
const INTRODUCTION_MS = 3500

/** The pointer must rest at the edge: whoever passes it on the way to a menu of the desktop is not disturbed. */
const DWELL_MS = 300

/** After the pointer has left. */
const LINGER_MS = 900

/** Height of the strip at the upper edge, in its middle part, that calls the toolbar. */
const EDGE_PX = 5

/** From here on the page says how long its link still works. */
const EXPIRY_NOTICE_MS = 5 * 60_000

/** How often is looked whether the link's end is near. */
const EXPIRY_EVERY_MS = 10_000

export class Toolbar {
  readonly #toolbar = element('toolbar', HTMLElement)
  readonly menus = new Menus(this.#toolbar, () =>
    this.#toolbar.toggleAttribute('data-open', this.menus.isOpen),
  )
  readonly #session = element('toolbar-session', HTMLElement)
  readonly #note = element('toolbar-note', HTMLElement)
  readonly #fullscreen = element('toolbar-fullscreen', HTMLButtonElement)
  readonly #keyboard = element('toolbar-keyboard', HTMLButtonElement)
  readonly #leave: () => void
  readonly #keys: HTMLTextAreaElement
  #timer: ReturnType<typeof setTimeout> | null = null
  #introduced = false
  #expiresAtMs: number | null = null

  /** `leave` brings the focus back to the screen. */
  constructor(leave: () => void, keys: HTMLTextAreaElement) {
    this.#leave = leave
    this.#keys = keys
    this.#attachButtons()
    this.#attachReveal()
    this.#refresh()
    setInterval(() => this.#tellExpiry(), EXPIRY_EVERY_MS)
  }

  /** The first picture is there. */
  introduce(): void {
    if (this.#introduced) return
    this.#introduced = true
    this.notice()
  }

  /** Something in it is new: it shows itself for a moment. */
  notice(): void {
    this.#show()
    this.#later(() => this.#hide(), INTRODUCTION_MS)
  }

  describe(status: Status): void {
    if (status.sessionId) this.#session.textContent = status.sessionId
    this.#expiresAtMs = status.expiresAtMs
    this.#tellExpiry()
  }

  get hasFocus(): boolean {
    return this.#toolbar.contains(document.activeElement)
  }

  /** Puts the focus into the toolbar. */
  enter(): void {
    this.#show()
    this.#buttons[0]?.focus()
  }

  /** Opens the panel of this button. */
  open(button: HTMLButtonElement): void {
    this.#show()
    if (button.getAttribute('aria-expanded') !== 'true') button.click()
  }

  get #buttons(): HTMLButtonElement[] {
    return [...this.#toolbar.querySelectorAll<HTMLButtonElement>('.tool:not([hidden], [disabled])')]
  }

  #attachButtons(): void {
    // Clicks leave the focus where it is, on the screen; only the tab key and `enter` bring it here.
    this.#toolbar.addEventListener('mousedown', (event) => {
      if (event.target instanceof Element && event.target.closest('button, .panel')) event.preventDefault()
    })
    this.#toolbar.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') {
        if (!this.menus.close()) this.#leave()
      } else if (event.key === 'ArrowLeft') this.#step(-1)
      else if (event.key === 'ArrowRight') this.#step(1)
      else return
      event.preventDefault()
    })
    this.#fullscreen.hidden = !document.fullscreenEnabled
    this.#fullscreen.addEventListener('click', () => void toggleFullscreen())
    document.addEventListener('fullscreenchange', () => this.#refresh())

    // On touch screens the keyboard would jump up at every tap, so it comes only when it is asked for.
    const touch = matchMedia('(pointer: coarse)').matches
    this.#keyboard.hidden = !touch
    this.#keys.inputMode = touch ? 'none' : ''
    this.#keyboard.addEventListener('click', () => {
      this.#keys.inputMode = this.#keys.inputMode === 'none' ? 'text' : 'none'
      this.#keys.blur()
      this.#leave()
    })
  }

  /** To the next button in a direction, round the ends. */
  #step(by: number): void {
    const buttons = this.#buttons
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement)
    buttons[(at + by + buttons.length) % buttons.length]?.focus()
  }

  #attachReveal(): void {
    let atEdge = false
    const watch = (event: PointerEvent) => {
      const over = event.target instanceof Node && this.#toolbar.contains(event.target)
      const middle = Math.abs(event.clientX - innerWidth / 2) < Math.max(160, innerWidth / 6)
      const edge = event.clientY < (event.pointerType === 'touch' ? EDGE_PX * 4 : EDGE_PX) && middle
      const here = over || edge
      if (here === atEdge) return
      atEdge = here
      if (here) this.#later(() => this.#show(), over ? 0 : DWELL_MS)
      else this.#later(() => this.#hide(), LINGER_MS)
    }
    window.addEventListener('pointermove', watch, { capture: true, passive: true })
    window.addEventListener('pointerdown', watch, { capture: true, passive: true })
    document.documentElement.addEventListener('pointerleave', () => {
      // Leaving through the upper edge, towards the browser's own bar, is not resting at it.
      atEdge = false
      this.#later(() => this.#hide(), LINGER_MS)
    })
  }

  #refresh(): void {
    const full = document.fullscreenElement !== null
    label(
      this.#fullscreen,
      full ? 'Leave full screen' : 'Full screen',
      full ? '#icon-window' : '#icon-fullscreen',
    )
  }

  #tellExpiry(): void {
    const leftMs = this.#expiresAtMs === null ? Number.POSITIVE_INFINITY : this.#expiresAtMs - Date.now()
    const tell = leftMs > 0 && leftMs < EXPIRY_NOTICE_MS
    this.#note.hidden = !tell
    if (tell) this.#note.textContent = `link ends in ${Math.ceil(leftMs / 60_000)} min`
  }

  #show(): void {
    this.#toolbar.toggleAttribute('data-shown', true)
  }

  #hide(): void {
    if (this.menus.isOpen) return
    this.#toolbar.toggleAttribute('data-shown', false)
  }

  #later(act: () => void, ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = setTimeout(act, ms)
  }
}

/** The keyboard lock of Chromium: in full screen, keys like Escape and Alt+Tab go to the session. */
interface LockableKeyboard {
  lock(): Promise<void>
}

async function toggleFullscreen(): Promise<void> {
  if (document.fullscreenElement) {
    await document.exitFullscreen()
    return
  }
  await document.documentElement.requestFullscreen()
  const { keyboard } = navigator as Navigator & { readonly keyboard?: LockableKeyboard }
  // Refused on insecure origins: then the browser keeps those keys, and all else works.
  await keyboard?.lock().catch(() => {})
}
