/**
 * From fingers to a mouse: a tap clicks, a long press and a tap of two fingers click right, one finger drags, two scroll.
 *
 * In: the touch events of the screen (any object with the fields used), timers. Out: events as a mouse would make them,
 * for `pointer.ts`. A finger presses nothing before it is clear what it means, so nothing has to be undone.
 */

import type { PointerInput, WheelInput } from './pointer.ts'

/** What is used of a touch `PointerEvent`. */
export interface TouchInput {
  readonly type: string
  readonly pointerId: number
  readonly clientX: number
  readonly clientY: number
}

/** The mouse that fingers move. */
export interface TouchTarget {
  pointer(event: PointerInput): void
  wheel(event: WheelInput): void
}

export const LONG_PRESS_MS = 500

/** A finger that moves less is still. */
export const STILL_PX = 8

/** A tap of two fingers is over by then. */
const TWO_FINGER_TAP_MS = 400

interface Point {
  readonly x: number
  readonly y: number
}

type Gesture =
  | { kind: 'none' }
  | { kind: 'one'; start: Point; timer: ReturnType<typeof setTimeout> }
  | { kind: 'drag'; finger: number }
  /** `at`: the middle of the two, as of the last wheel step. */
  | {
      kind: 'two'
      start: Point
      at: Point
      scrolls: boolean
      overdue: boolean
      timer: ReturnType<typeof setTimeout>
    }
  /** It has had its effect; nothing more comes of these fingers. */
  | { kind: 'done' }

const LEFT = { button: 0, buttons: 1 }
const RIGHT = { button: 2, buttons: 2 }

export class Touch {
  readonly #target: TouchTarget
  readonly #fingers = new Map<number, Point>()
  #gesture: Gesture = { kind: 'none' }

  constructor(target: TouchTarget) {
    this.#target = target
  }

  take(event: TouchInput): void {
    const point = { x: event.clientX, y: event.clientY }
    switch (event.type) {
      case 'pointerdown':
        this.#fingers.set(event.pointerId, point)
        this.#down(point)
        return
      case 'pointermove':
        if (!this.#fingers.has(event.pointerId)) return
        this.#fingers.set(event.pointerId, point)
        this.#move(event.pointerId, point)
        return
      case 'pointerup':
      case 'pointercancel':
        if (!this.#fingers.delete(event.pointerId)) return
        this.#up(event.pointerId, point, event.type === 'pointercancel')
    }
  }

  /** The screen is somebody else's now, or the connection a new one: fingers that are down mean nothing more. */
  forget(): void {
    this.#fingers.clear()
    this.#turn({ kind: 'none' })
  }

  #down(point: Point): void {
    if (this.#fingers.size === 1) {
      const timer = setTimeout(() => {
        this.#turn({ kind: 'done' })
        this.#click(point, RIGHT)
      }, LONG_PRESS_MS)
      this.#turn({ kind: 'one', start: point, timer })
    } else if (this.#gesture.kind === 'one') {
      const middle = this.#middle()
      const timer = setTimeout(() => {
        if (this.#gesture.kind === 'two') this.#gesture.overdue = true
      }, TWO_FINGER_TAP_MS)
      this.#turn({ kind: 'two', start: middle, at: middle, scrolls: false, overdue: false, timer })
    } else if (this.#gesture.kind === 'two') {
      this.#turn({ kind: 'done' })
    }
  }

  #move(finger: number, point: Point): void {
    const gesture = this.#gesture
    if (gesture.kind === 'one' && isFar(gesture.start, point)) {
      this.#turn({ kind: 'drag', finger })
      // From where the finger came down: that is what it wants to drag.
      this.#point('pointerdown', gesture.start, LEFT)
      this.#point('pointermove', point, { button: -1, buttons: 1 })
    } else if (gesture.kind === 'drag' && gesture.finger === finger) {
      this.#point('pointermove', point, { button: -1, buttons: 1 })
    } else if (gesture.kind === 'two') {
      const middle = this.#middle()
      gesture.scrolls ||= isFar(gesture.start, middle)
      if (!gesture.scrolls) return
      // The content follows the fingers, at the place where they came down.
      this.#target.wheel({
        ...{ clientX: gesture.start.x, clientY: gesture.start.y, deltaMode: 0 },
        ...{ deltaX: gesture.at.x - middle.x, deltaY: gesture.at.y - middle.y },
      })
      gesture.at = middle
    }
  }

  #up(finger: number, point: Point, cancelled: boolean): void {
    const gesture = this.#gesture
    this.#turn(this.#fingers.size > 0 ? { kind: 'done' } : { kind: 'none' })
    if (gesture.kind === 'drag') {
      if (gesture.finger !== finger) this.#gesture = gesture
      // A cancelled touch has no place: what was held is let go where it was.
      else this.#point(cancelled ? 'pointercancel' : 'pointerup', point, { button: 0, buttons: 0 })
    } else if (cancelled) return
    else if (gesture.kind === 'one') this.#click(gesture.start, LEFT)
    else if (gesture.kind === 'two' && !gesture.scrolls && !gesture.overdue) this.#click(gesture.start, RIGHT)
  }

  #click(point: Point, button: { button: number; buttons: number }): void {
    this.#point('pointerdown', point, button)
    this.#point('pointerup', point, { button: button.button, buttons: 0 })
  }

  #point(type: string, { x, y }: Point, buttons: { button: number; buttons: number }): void {
    this.#target.pointer({ type, clientX: x, clientY: y, ...buttons })
  }

  #turn(gesture: Gesture): void {
    if ('timer' in this.#gesture) clearTimeout(this.#gesture.timer)
    this.#gesture = gesture
  }

  #middle(): Point {
    const points = [...this.#fingers.values()].slice(0, 2)
    const sum = points.reduce((all, { x, y }) => ({ x: all.x + x, y: all.y + y }), { x: 0, y: 0 })
    return { x: sum.x / points.length, y: sum.y / points.length }
  }
}

function isFar(from: Point, to: Point): boolean {
  return Math.hypot(to.x - from.x, to.y - from.y) >= STILL_PX
}
