/** The screen in the window: its size and place, and which remote pixel is under a point. */

import { type FitMode, layout, remotePixel, type Size } from '../view/geometry.ts'
import { element } from './elements.ts'

export class Stage {
  readonly canvas = element('screen', HTMLCanvasElement)
  readonly keys = element('keys', HTMLTextAreaElement)
  readonly #element = element('stage', HTMLElement)
  #screen: Size = { width: 1, height: 1 }
  #mode: FitMode = 'fit'

  constructor() {
    new ResizeObserver(() => this.#lay()).observe(this.#element)
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

  get mode(): FitMode {
    return this.#mode
  }

  set mode(mode: FitMode) {
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
    // Not `clientWidth`, which is rounded: on displays with a fractional density that costs the last pixel.
    const window = this.#element.getBoundingClientRect()
    const place = layout(this.#screen, window, devicePixelRatio, this.#mode)
    this.#element.dataset.mode = this.#mode
    this.canvas.toggleAttribute('data-pixelated', place.pixelated)
    Object.assign(this.canvas.style, {
      left: `${place.left}px`,
      top: `${place.top}px`,
      width: `${place.width}px`,
      height: `${place.height}px`,
    })
  }

  /** The window may move to a display of another density without changing its size. */
  #watchDensity(): void {
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener(
      'change',
      () => {
        this.#lay()
        this.#watchDensity()
      },
      { once: true },
    )
  }
}
