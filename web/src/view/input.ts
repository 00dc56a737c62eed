/**
 * Joins the browser's events to the keyboard and the pointer.
 *
 * In: the element that shows the screen, and a text area that has the focus while the screen does (only an editable
 * element gets dead keys and input methods). Out: inputs. Keys are taken only from the text area, so a toolbar beside it keeps
 * its own. Everything that is pressed is let go when the focus or the page goes away.
 */

import { Keyboard, type KeyInput, type Platform } from './keyboard.ts'
import { Pointer } from './pointer.ts'
import type { Input } from './wire.ts'

export interface InputTarget {
  /** What the pointer acts on. */
  readonly screen: HTMLElement
  /** What the keys go to; lies invisibly over or beside the screen. */
  readonly keys: HTMLTextAreaElement
  /** The remote pixel under a point of the window. */
  locate(clientX: number, clientY: number): { x: number; y: number }
  /** Whether the page itself takes this key-down, before anything else looks at it. */
  shortcut(event: KeyboardEvent): boolean
}

/** What the owner may ask of the running input. */
export interface AttachedInput {
  /** A new connection begins: the server holds nothing down. */
  forget(): void
  /** Puts the focus where keys are taken. */
  focus(): void
}

export function attachInput(target: InputTarget, send: (input: Input) => void): AttachedInput {
  const { screen, keys } = target
  const pointer = new Pointer(send, target.locate, {
    request: (callback) => requestAnimationFrame(callback),
    cancel: (handle) => cancelAnimationFrame(handle),
  })
  const keyboard = new Keyboard(send, platformOf(navigator))

  const releaseAll = () => {
    keyboard.releaseAll(pointer.releaseAll())
  }
  const focus = () => keys.focus({ preventScroll: true })

  attachPointer(screen, pointer, keyboard, focus)
  attachKeys(target, keyboard, pointer)
  keys.addEventListener('blur', releaseAll)
  window.addEventListener('blur', releaseAll)
  window.addEventListener('pagehide', releaseAll)
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'hidden') releaseAll()
  })

  return {
    forget() {
      keyboard.forget()
      pointer.forget()
    },
    focus,
  }
}

function attachPointer(screen: HTMLElement, pointer: Pointer, keyboard: Keyboard, focus: () => void) {
  const take = (event: PointerEvent) => {
    if (event.type === 'pointerdown') keyboard.observePress(event)
    else keyboard.observe(event)
    pointer.pointer(event)
  }
  screen.addEventListener('pointerdown', (event) => {
    focus()
    // A drag goes on outside the window.
    screen.setPointerCapture(event.pointerId)
    take(event)
  })
  for (const type of ['pointermove', 'pointerup', 'pointercancel'] as const) {
    screen.addEventListener(type, take)
  }
  screen.addEventListener(
    'wheel',
    (event) => {
      event.preventDefault()
      keyboard.observe(event)
      pointer.wheel(event)
    },
    { passive: false },
  )
  // No menu, no selection, no scrolling with the middle button, no going back with the fourth.
  for (const type of ['contextmenu', 'mousedown', 'mouseup', 'auxclick', 'dragstart'] as const) {
    screen.addEventListener(type, (event) => event.preventDefault())
  }
}

function attachKeys(target: InputTarget, keyboard: Keyboard, pointer: Pointer) {
  const { keys } = target
  const whole = (event: KeyboardEvent, take: (event: KeyInput) => boolean) => {
    pointer.flush()
    if (take(event)) event.preventDefault()
  }
  keys.addEventListener('keydown', (event) => {
    if (target.shortcut(event)) event.preventDefault()
    else whole(event, (input) => keyboard.keyDown(input))
  })
  keys.addEventListener('keyup', (event) => whole(event, (input) => keyboard.keyUp(input)))

  // Every key that is sent as a key is kept from the text area. What still arrives in it was made by a dead key, an
  // input method or a picker, and is text.
  let composing = false
  keys.addEventListener('compositionstart', () => {
    composing = true
  })
  keys.addEventListener('compositionend', (event) => {
    composing = false
    keyboard.text(event.data)
    // Emptied later: some browsers write the composed text only after this event.
    setTimeout(() => {
      if (!composing) keys.value = ''
    })
  })
  keys.addEventListener('beforeinput', (event) => {
    if (composing || event.isComposing) return
    // Keyboards of touch screens edit instead of pressing keys.
    if (event.inputType === 'deleteContentBackward') keyboard.tap('Backspace', 'Backspace')
    else if (event.inputType === 'insertLineBreak') keyboard.tap('Enter', 'Enter')
    else if (event.inputType === 'insertText' || event.inputType === 'insertReplacementText') {
      keyboard.text(event.data ?? '')
    } else return
    event.preventDefault()
  })
  // The clipboard is not shared yet; a paste from the browser's menu must not end up as typing.
  for (const type of ['paste', 'cut', 'copy', 'drop'] as const) {
    keys.addEventListener(type, (event) => event.preventDefault())
  }
}

function platformOf(navigator: Navigator): Platform {
  const name = navigator.userAgent
  if (/Mac|iPhone|iPad/.test(name)) return 'mac'
  return name.includes('Windows') ? 'windows' : 'other'
}
