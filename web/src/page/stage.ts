/** The screen in the window: its size and place, and which remote pixel is under a point. */

import { type FitMode, layout, remotePixel, type Size } from '../view/geometry.ts'
import { element } from './elements.ts'

export class Stage {
  readonly canvas = element('screen', HTMLCanvasElement)
  readonly keys = element('keys', HTMLTextAreaElement)
  /** Lies exactly over the picture; what is in it is placed in parts of its size. */
  readonly pointers = element('pointers', HTMLElement)
  /** The window has another size or density. */
  onWindow: () => void = () => {}
  readonly #element = element('stage', HTMLElement)
  #screen: Size = { width: 1, height: 1 }
  #mode: FitMode = 'fit'

  constructor() {
    new ResizeObserver(() => {
      this.#lay()
      this.onWindow()
    }).observe(this.#element)
    this.#watchDensity()
    // An input method shows its list where the text area is: there, where the viewer has clicked last.
    this.canvas.addEventListener('pointerdown', (event) => {
      const { left, top } = this.#element.getBoundingClientRect()
      this.keys.style.left = `${event.clientX - left + this.#element.scrollLeft}px`
      this.keys.style.top = `${event.clientY - top + this.#element.scrollTop}px`
    })
  }

  get size(): Size {
    return this.#screen
  }

  /** The room for the picture. */
  get window(): Size {
    // Not `clientWidth`, which is rounded: on displays with a fractional density that costs the last pixel.
    return this.#element.getBoundingClientRect()
  }

  set mode(mode: FitMode) {
    if (this.#mode === mode) return
    this.#mode = mode
    this.#lay()
  }

  /** A picture of this size is on the canvas. */
  resize(size: Size): void {
    this.#screen = size
    this.#lay()
  }

  locate(clientX: number, clientY: number): { x: number; y: number } {
    return remotePixel({ x: clientX, y: clientY }, this.canvas.getBoundingClientRect(), this.#screen)
  }

  #lay(): void {
    const place = layout(this.#screen, this.window, devicePixelRatio, this.#mode)
    this.#element.dataset.mode = this.#mode
    this.canvas.toggleAttribute('data-pixelated', place.pixelated)
    for (const { style } of [this.canvas, this.pointers]) {
      style.left = `${place.left}px`
      style.top = `${place.top}px`
      style.width = `${place.width}px`
      style.height = `${place.height}px`
    }
  }

  /** The window may move to a display of another density without changing its size. */
  #watchDensity(): void {
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener(
      'change',
      () => {
        this.#lay()
        this.onWindow()
        this.#watchDensity()
      },
      { once: true },
    )
  }
}
