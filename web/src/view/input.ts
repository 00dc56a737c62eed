/**
 * Joins the browser's events to the keyboard, the clipboard, the pointer and the fingers.
 *
 * In: the element that shows the screen, and a text area that has the focus while the screen does (only an editable
 * element gets dead keys and input methods). Out: inputs. Keys are taken only from the text area, so a toolbar beside it keeps
 * its own. Everything that is pressed is let go when the focus or the page goes away.
 */

import { Keyboard, type KeyInput, type Platform } from './keyboard.ts'
import { Paste, type PasteTarget } from './paste.ts'
import { Pointer } from './pointer.ts'
import { Touch } from './touch.ts'
import { Typing } from './typing.ts'
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
  /** Whether the session takes what this viewer does. Otherwise nothing is sent, and `refused` is told of clicks and keys. */
  allowed(): boolean
  refused(): void
  readonly clipboard: Omit<PasteTarget, 'send'>
}

/** What the owner may ask of the running input. */
export interface AttachedInput {
  /** A new connection begins: the server holds nothing down. */
  forget(): void
  /** Puts the focus where keys are taken. */
  focus(): void
}

/** Keys that only accompany others: no sign that somebody wants something. */
const SILENT_KEYS = new Set(['Shift', 'Control', 'Alt', 'AltGraph', 'Meta', 'CapsLock', 'NumLock'])

export function attachInput(target: InputTarget, send: (input: Input) => void): AttachedInput {
  const { keys } = target
  const pointer = new Pointer(send, target.locate, {
    request: (callback) => requestAnimationFrame(callback),
    cancel: (handle) => cancelAnimationFrame(handle),
  })
  const touch = new Touch(pointer)
  const platform = platformOf(navigator)
  const clipboard = { ...target.clipboard, send: (text: string) => send({ kind: 'clipboard', text }) }
  const keyboard = new Paste(new Keyboard(send, platform), clipboard, platform)
  const typing = new Typing(keyboard)

  const releaseAll = () => {
    touch.forget()
    keyboard.releaseAll(pointer.releaseAll())
  }
  const focus = () => keys.focus({ preventScroll: true })

  attachPointer(target, pointer, touch, keyboard, focus)
  attachKeys(target, keyboard, pointer)
  attachTyping(target, typing)
  attachClipboard(target, keyboard)
  keys.addEventListener('blur', () => {
    typing.abandon()
    releaseAll()
  })
  window.addEventListener('blur', releaseAll)
  window.addEventListener('pagehide', releaseAll)
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'hidden') releaseAll()
  })

  return {
    forget() {
      keyboard.forget()
      pointer.forget()
      touch.forget()
    },
    focus,
  }
}

function attachPointer(
  target: InputTarget,
  pointer: Pointer,
  touch: Touch,
  keyboard: Paste,
  focus: () => void,
) {
  const { screen } = target
  const take = (event: PointerEvent) => {
    if (!target.allowed()) return
    if (event.type === 'pointerdown') keyboard.observePress(event)
    else keyboard.observe(event)
    if (event.pointerType === 'touch') touch.take(event)
    else pointer.pointer(event)
  }
  screen.addEventListener('pointerdown', (event) => {
    focus()
    if (!target.allowed()) target.refused()
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
      if (!target.allowed()) return
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

function attachKeys(target: InputTarget, keyboard: Paste, pointer: Pointer) {
  const { keys } = target
  const whole = (event: KeyboardEvent, take: (event: KeyInput) => boolean) => {
    pointer.flush()
    if (take(event)) event.preventDefault()
  }
  keys.addEventListener('keydown', (event) => {
    if (target.shortcut(event)) event.preventDefault()
    else if (target.allowed()) whole(event, (input) => keyboard.keyDown(input))
    // Left to the browser: whoever only watches may reload, or go to the toolbar with the tab key.
    else if (!SILENT_KEYS.has(event.key) && event.key !== 'Tab') target.refused()
  })
  keys.addEventListener('keyup', (event) => {
    if (target.allowed()) whole(event, (input) => keyboard.keyUp(input))
  })
}

function attachTyping(target: InputTarget, typing: Typing) {
  const { keys } = target
  keys.addEventListener('compositionstart', () => typing.compositionStart())
  keys.addEventListener('compositionend', (event) => {
    if (target.allowed()) typing.compositionEnd(event.data)
    else typing.abandon()
    // Emptied later: some browsers write the composed text only after this event.
    setTimeout(() => {
      if (!typing.composing) keys.value = ''
    })
  })
  keys.addEventListener('beforeinput', (event) => {
    if (!target.allowed() || typing.edit(event)) event.preventDefault()
  })
}

function attachClipboard(target: InputTarget, keyboard: Paste) {
  const { keys } = target
  keys.addEventListener('paste', (event) => {
    event.preventDefault()
    if (target.allowed()) keyboard.pasted(event.clipboardData?.getData('text/plain') ?? '')
  })
  for (const type of ['cut', 'copy', 'drop'] as const) {
    keys.addEventListener(type, (event) => event.preventDefault())
  }
}

function platformOf(navigator: Navigator): Platform {
  const name = navigator.userAgent
  if (/Mac|iPhone|iPad/.test(name)) return 'mac'
  return name.includes('Windows') ? 'windows' : 'other'
}
