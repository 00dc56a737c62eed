/** The panels below the toolbar: one at a time, closed by Escape, by its button, and by a click elsewhere. */

interface Menu {
  readonly button: HTMLButtonElement
  readonly panel: HTMLElement
  readonly opened: () => void
}

export class Menus {
  readonly #changed: () => void
  #open: Menu | null = null

  /** `inside`: clicks there close nothing. */
  constructor(inside: HTMLElement, changed: () => void) {
    this.#changed = changed
    window.addEventListener(
      'pointerdown',
      (event) => {
        if (!(event.target instanceof Node && inside.contains(event.target))) this.close()
      },
      { capture: true, passive: true },
    )
  }

  get isOpen(): boolean {
    return this.#open !== null
  }

  add(button: HTMLButtonElement, panel: HTMLElement, opened: () => void = () => {}): void {
    const menu = { button, panel, opened }
    button.setAttribute('aria-expanded', 'false')
    button.setAttribute('aria-controls', panel.id)
    button.addEventListener('click', (event) => {
      this.#turn(this.#open?.panel === panel ? null : menu)
      // A key has pressed it: the keyboard goes on in the panel. The mouse leaves it with the screen.
      if (this.#open && event.detail === 0)
        panel.querySelector<HTMLElement>('button:not([hidden]), a')?.focus()
    })
  }

  /** Returns whether one was open; if the focus was in it, its button has it now. */
  close(): boolean {
    const open = this.#open
    if (!open) return false
    if (open.panel.contains(document.activeElement)) open.button.focus()
    this.#turn(null)
    return true
  }

  #turn(menu: Menu | null): void {
    for (const one of [this.#open, menu]) {
      if (!one) continue
      one.panel.hidden = one !== menu
      one.button.setAttribute('aria-expanded', String(one === menu))
    }
    this.#open = menu
    menu?.opened()
    this.#changed()
  }
}
