/**
 * From the browser's pointer and wheel events to pointer messages.
 *
 * In: events (any object with the fields of {@link PointerInput} or {@link WheelInput}) and a frame clock. Out: moves,
 * at most one per displayed frame but never later than a button, key or wheel message that follows them; buttons by
 * comparing what the browser says is held with what was sent; wheel steps in 1/120 notch.
 */

import { Button, type Input } from './wire.ts'

/** What is used of a `PointerEvent`. */
export interface PointerInput {
  readonly type: string
  readonly clientX: number
  readonly clientY: number
  /** The button that changed, -1 for none. */
  readonly button: number
  /** Bit mask of the buttons that are held. */
  readonly buttons: number
  /** Points that the browser merged into this event; drawing needs them. */
  getCoalescedEvents?(): readonly { readonly clientX: number; readonly clientY: number }[]
}

/** What is used of a `WheelEvent`. */
export interface WheelInput {
  readonly clientX: number
  readonly clientY: number
  readonly deltaX: number
  readonly deltaY: number
  readonly deltaMode: number
}

/** Calls back before the next displayed frame. `requestAnimationFrame` in the page. */
export interface FrameClock {
  request(callback: () => void): number
  cancel(handle: number): void
}

/** Bits of `buttons`, in the order of the DOM, with the X buttons that they are. */
const BUTTONS: readonly (readonly [number, Button])[] = [
  [1, Button.left],
  [2, Button.right],
  [4, Button.middle],
  [8, Button.back],
  [16, Button.forward],
]

/** A pen's eraser and whatever comes later are no buttons of a mouse. */
const ALL_BUTTONS = 0b11111

/** Points kept of one frame while drawing; at 1000 Hz a frame has 16. */
const DRAWN_POINTS_MAX = 16

/** 1/120 notches per unit of `deltaMode`: pixels (a notch is about 100), lines (a notch is 3), pages. */
const NOTCH_UNITS = [120 / 100, 120 / 3, 360] as const

/** A wheel message carries an i16, and nobody means more than some hundred notches. */
const WHEEL_MAX = 0x7fff

interface Point {
  readonly x: number
  readonly y: number
}

export class Pointer {
  readonly #send: (input: Input) => void
  readonly #locate: (clientX: number, clientY: number) => Point
  readonly #clock: FrameClock
  /** Moves of this frame that were not sent yet; one, or several while a button is held. */
  #moves: Point[] = []
  #frame: number | null = null
  /** Where the server believes the pointer to be. */
  #at: Point | null = null
  /** Buttons that the server believes to be held, as in `buttons`. */
  #held = 0
  #wheel = { dx: 0, dy: 0 }

  constructor(
    send: (input: Input) => void,
    locate: (clientX: number, clientY: number) => Point,
    clock: FrameClock,
  ) {
    this.#send = send
    this.#locate = locate
    this.#clock = clock
  }

  get held(): number {
    return this.#held
  }

  /** Takes any pointer event of the screen: down, up, move, cancel. */
  pointer(event: PointerInput): void {
    const buttons = this.#buttonsAfter(event)
    if (event.type === 'pointermove' && buttons === this.#held) {
      this.#moveLater(event)
      return
    }
    // A cancelled touch has no place: what was held is let go where it was.
    if (event.type !== 'pointercancel') this.#moves.push(this.#locate(event.clientX, event.clientY))
    this.flush()
    this.#changeButtons(buttons)
  }

  wheel(event: WheelInput): void {
    const units = NOTCH_UNITS[event.deltaMode] ?? NOTCH_UNITS[0]
    this.#wheel.dx += event.deltaX * units
    this.#wheel.dy += event.deltaY * units
    if (this.#held === 0) this.#moves = [this.#locate(event.clientX, event.clientY)]
    this.#schedule()
  }

  /** Sends what waits for the next frame. To be called before anything that depends on where the pointer is. */
  flush(): void {
    if (this.#frame !== null) this.#clock.cancel(this.#frame)
    this.#frame = null
    for (const point of this.#moves) this.#moveTo(point)
    this.#moves = []
    this.#sendWheel()
  }

  /** The pointer is somebody else's now; the keyboard's `release-all` lets go of the buttons as well. */
  releaseAll(): boolean {
    const held = this.#held !== 0
    this.forget()
    return held
  }

  /** The connection is a new one: nothing is held there, and it does not know where the pointer is. */
  forget(): void {
    if (this.#frame !== null) this.#clock.cancel(this.#frame)
    this.#frame = null
    this.#moves = []
    this.#at = null
    this.#held = 0
    this.#wheel = { dx: 0, dy: 0 }
  }

  #moveLater(event: PointerInput): void {
    const merged = this.#held === 0 ? [] : (event.getCoalescedEvents?.() ?? [])
    const points = merged.length > 0 ? merged : [event]
    const located = points.map((point) => this.#locate(point.clientX, point.clientY))
    // While nothing is held only the end of the way matters; while drawing, the way is the point.
    this.#moves = this.#held === 0 ? located : [...this.#moves, ...located].slice(-DRAWN_POINTS_MAX)
    this.#schedule()
  }

  #schedule(): void {
    this.#frame ??= this.#clock.request(() => {
      this.#frame = null
      this.flush()
    })
  }

  #moveTo(point: Point): void {
    if (this.#at?.x === point.x && this.#at.y === point.y) return
    this.#at = point
    this.#send({ kind: 'pointer', x: point.x, y: point.y })
  }

  /** Which buttons count as held after this event. */
  #buttonsAfter(event: PointerInput): number {
    if (event.type === 'pointercancel') return 0
    // A button pressed elsewhere and dragged in here is not ours: presses count only where the event is one. Further
    // buttons beside a held one come as moves that name a button.
    const isPress = event.type === 'pointerdown' || (event.type === 'pointermove' && event.button >= 0)
    return (isPress ? event.buttons : event.buttons & this.#held) & ALL_BUTTONS
  }

  #changeButtons(buttons: number): void {
    const at = this.#at ?? { x: 0, y: 0 }
    const changed = buttons ^ this.#held
    this.#held = buttons
    for (const [bit, button] of BUTTONS) {
      if (changed & bit) this.#send({ kind: 'button', button, down: (buttons & bit) !== 0, x: at.x, y: at.y })
    }
  }

  #sendWheel(): void {
    const dx = clampWheel(this.#wheel.dx)
    const dy = clampWheel(this.#wheel.dy)
    if (dx === 0 && dy === 0) return
    // What is less than a unit stays for the next time, so that slow scrolling is not lost.
    this.#wheel = { dx: this.#wheel.dx % 1, dy: this.#wheel.dy % 1 }
    const at = this.#at ?? { x: 0, y: 0 }
    this.#send({ kind: 'wheel', dx, dy, x: at.x, y: at.y })
  }
}

function clampWheel(units: number): number {
  return Math.max(-WHEEL_MAX, Math.min(WHEEL_MAX, Math.trunc(units))) || 0
}
