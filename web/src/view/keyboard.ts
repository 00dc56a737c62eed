/**
 * From the browser's key events to key messages, with one promise: no key stays down that the viewer has let go.
 *
 * In: key events (any object with the fields of {@link KeyInput}), and word that the keyboard belongs to somebody else
 * (`releaseAll`). Out: key messages, each with the modifiers that are down by the browser's word. Browsers lose key-ups
 * (while Meta is down on macOS, of the second Shift on Windows, of all keys when the focus goes), so what
 * is down here is compared with what each event says, and let go when they differ. A Mac's Cmd shortcuts for the clipboard
 * and the like become those of the session's Linux, with Ctrl.
 *
 * Pure but for one timer: Windows sends a Ctrl before AltGr, and only the next event tells it from a real one.
 */

import { type Input, Modifier } from './wire.ts'

/** What keyboard and pointer events alike say about the modifiers. */
export interface ModifierState {
  readonly shiftKey: boolean
  readonly ctrlKey: boolean
  readonly altKey: boolean
  readonly metaKey: boolean
  getModifierState(name: string): boolean
}

/** What is used of a `KeyboardEvent`. */
export interface KeyInput extends ModifierState {
  readonly code: string
  readonly key: string
  /** Deprecated, and still the only sign of an input method in some browsers. */
  readonly keyCode: number
  readonly repeat: boolean
  readonly isComposing: boolean
  readonly timeStamp: number
}

export type Platform = 'mac' | 'windows' | 'other'

/** Windows sends AltGr's false Ctrl in the same instant; a person is slower than this. */
const FALSE_CTRL_MS = 50

/** Keys that belong to an input method or a dead key: their result comes as text. */
const COMPOSING_KEYS = new Set(['Dead', 'Process', 'Compose', 'Unidentified'])
const COMPOSING_KEY_CODE = 229

/** Keys that some systems report once, without a key-up: toggles of Japanese keyboards and macOS' Caps Lock. */
const TOGGLE_KEYS = new Set([
  ...['Zenkaku', 'Hankaku', 'ZenkakuHankaku', 'Hiragana', 'Katakana', 'HiraganaKatakana'],
  ...['Romaji', 'KanaMode', 'KanjiMode', 'Eisu', 'Alphanumeric'],
])

/** Which physical keys hold which modifier of an event. */
const MODIFIER_CODES = {
  shiftKey: ['ShiftLeft', 'ShiftRight'],
  ctrlKey: ['ControlLeft', 'ControlRight'],
  altKey: ['AltLeft', 'AltRight'],
  metaKey: ['MetaLeft', 'MetaRight'],
} as const
const MODIFIER_NAMES = { shiftKey: 'Shift', ctrlKey: 'Control', altKey: 'Alt', metaKey: 'Meta' } as const
const MODIFIER_KEYS = Object.keys(MODIFIER_CODES) as (keyof typeof MODIFIER_CODES)[]
/** Cmd with these is Ctrl in the session. */
const MAC_SHORTCUTS = new Set(['a', 'c', 'v', 'x', 'z'])
const ALL_MODIFIER_CODES = new Set<string>(Object.values(MODIFIER_CODES).flat())

export class Keyboard {
  readonly #send: (input: Input) => void
  readonly #platform: Platform
  /** Keys that were sent down and not up, by physical code: the key's name, which its key-up repeats. */
  readonly #down = new Map<string, string>()
  /** A Ctrl that may be AltGr's false one. */
  #heldBack: { event: KeyInput; timer: ReturnType<typeof setTimeout> } | null = null
  /** On macOS, a Meta that nothing was pressed with yet: alone it opens the desktop's menu, with a shortcut it must not. */
  #waitingMeta: KeyInput | null = null
  /** Something was sent since the last `release-all`. */
  #used = false

  constructor(send: (input: Input) => void, platform: Platform) {
    this.#send = send
    this.#platform = platform
  }

  /** Codes of the keys that the server believes to be down. */
  get down(): ReadonlySet<string> {
    return new Set(this.#down.keys())
  }

  /** Takes a key-down. Returns whether it was ours, so that the browser must not act on it. */
  keyDown(event: KeyInput): boolean {
    if (this.#isFalseCtrl(event)) this.#dropHeldBack()
    this.flush()
    this.#reconcile(event, event.code)
    this.#waitingMeta = null
    if (isComposing(event)) return false
    if (this.#platform === 'mac' && event.code.startsWith('Meta')) {
      this.#waitingMeta = event
      return true
    }
    if (this.#mayBeFalseCtrl(event)) {
      this.#holdBack(event)
      return true
    }
    if (TOGGLE_KEYS.has(event.key) || (this.#platform === 'mac' && event.code === 'CapsLock')) {
      this.#press(event)
      return true
    }
    if (this.#platform === 'mac' && isMacShortcut(event)) {
      for (const code of MODIFIER_CODES.metaKey) this.#sendUp(code, this.#modifiers(event))
      this.shortcut(event.code, event.key, event.shiftKey ? Modifier.shift : 0)
      return true
    }
    // macOS reports no key-up for what is pressed while Meta is down.
    if (this.#platform === 'mac' && event.metaKey && !ALL_MODIFIER_CODES.has(event.code)) {
      this.#press(event)
      return true
    }
    this.#sendDown(event)
    return true
  }

  /** Takes a key-up. Only keys that were sent down are sent up. */
  keyUp(event: KeyInput): boolean {
    this.flush()
    const id = idOf(event)
    if (this.#platform === 'mac' && event.code === 'CapsLock') this.#press(event)
    else if (this.#waitingMeta?.code === event.code) this.#pressWaitingMeta()
    // Windows reports this key when it is let go only.
    else if (event.code === 'PrintScreen' && !this.#down.has(id)) this.#press(event)
    // An input method may rename a key while it is down; without a code there is nothing else to know it by.
    else if (event.code === '' && !this.#down.has(id)) this.#releaseNameless(event)
    else this.#sendUp(id, this.#modifiers(event))
    if (this.#platform === 'mac' && event.code.startsWith('Meta')) this.#releaseOrdinary(event)
    this.#reconcile(event, event.code)
    return true
  }

  /** Takes what a pointer event says about the modifiers: another chance to see that a key-up was lost. */
  observe(event: ModifierState): void {
    this.flush()
    this.#reconcile(event, '')
  }

  /** Takes a press of a button: it acts together with the modifiers that are down, wherever they were pressed. */
  observePress(event: ModifierState): void {
    this.observe(event)
    this.#waitingMeta = null
    this.#adopt(event, '')
  }

  /** Sends text that came from elsewhere than keys: an input method, an emoji picker, a dead key. */
  text(text: string): void {
    this.flush()
    if (text === '') return
    this.#used = true
    this.#send({ kind: 'text', text })
  }

  /** Sends what is held back. To be called before anything whose meaning depends on the modifiers, such as a click. */
  flush(): void {
    const held = this.#heldBack
    if (!held) return
    this.#dropHeldBack()
    this.#sendDown(held.event)
  }

  /** Presses and releases one key that no event stands for (the keyboard of a touch screen). */
  tap(code: string, key: string): void {
    this.#used = true
    this.#send({ kind: 'key', down: true, repeat: false, modifiers: 0, code, key })
    this.#send({ kind: 'key', down: false, repeat: false, modifiers: 0, code, key })
  }

  /** Presses and releases a key with Ctrl, whatever keys the viewer holds for it. `others`: further modifiers that are down. */
  shortcut(code: string, key: string, others = 0): void {
    const modifiers = others | Modifier.ctrl
    // It may be down still, if its key-up was lost.
    this.#sendUp(code, others)
    const held = this.#holds('ControlLeft', 'ControlRight')
    if (!held) this.#emit(true, false, modifiers, 'ControlLeft', 'Control')
    this.#emit(true, false, modifiers, code, key)
    this.#emit(false, false, modifiers, code, key)
    if (!held) this.#emit(false, false, others, 'ControlLeft', 'Control')
  }

  /** The keyboard is somebody else's now. Key-ups from here on will not be seen. `force`: buttons are held as well. */
  releaseAll(force = false): void {
    this.#dropHeldBack()
    this.#waitingMeta = null
    this.#down.clear()
    if (!this.#used && !force) return
    this.#used = false
    this.#send({ kind: 'release-all' })
  }

  /** The connection is a new one: nothing is down there. */
  forget(): void {
    this.#dropHeldBack()
    this.#waitingMeta = null
    this.#down.clear()
    this.#used = false
  }

  #sendDown(event: KeyInput): void {
    const id = idOf(event)
    const known = this.#down.has(id)
    // A repeat of a key that was pressed elsewhere, before the focus came here: not meant for us.
    if (event.repeat && !known) return
    this.#adopt(event, event.code)
    // The name at first press is kept: the key-up has to match it, whatever Shift does in between.
    if (!known) this.#down.set(id, event.key)
    this.#emit(true, event.repeat || known, this.#modifiers(event), event.code, event.key)
  }

  #sendUp(id: string, modifiers: number): void {
    const key = this.#down.get(id)
    if (key === undefined) return
    this.#down.delete(id)
    this.#emit(false, false, modifiers, codeOf(id), key)
  }

  #press(event: KeyInput): void {
    // It may be down still, if its key-up is one of those that were lost.
    this.#sendUp(idOf(event), this.#modifiers(event))
    this.#adopt(event, event.code)
    this.#emit(true, false, this.#modifiers(event), event.code, event.key)
    this.#emit(false, false, this.#modifiers(event), event.code, event.key)
  }

  #pressWaitingMeta(): void {
    const meta = this.#waitingMeta
    this.#waitingMeta = null
    if (meta) this.#press(meta)
  }

  #releaseNameless(event: KeyInput): void {
    for (const id of [...this.#down.keys()]) {
      if (codeOf(id) === '') this.#sendUp(id, this.#modifiers(event))
    }
  }

  #emit(down: boolean, repeat: boolean, modifiers: number, code: string, key: string): void {
    this.#used = true
    this.#send({ kind: 'key', down, repeat, modifiers, code, key })
  }

  /** Lets go of modifiers that the browser says are up: their key-up was lost. */
  #reconcile(event: ModifierState, except: string): void {
    const modifiers = this.#modifiers(event)
    const altGraph = event.getModifierState('AltGraph')
    if (!event.metaKey && this.#waitingMeta && this.#waitingMeta.code !== except) {
      this.#waitingMeta = null
      this.#releaseOrdinary(event)
    }
    for (const name of MODIFIER_KEYS) {
      if (event[name]) continue
      for (const code of MODIFIER_CODES[name]) {
        // AltGr sits on the right Alt and says so by its own name only.
        if (code === 'AltRight' && altGraph) continue
        if (code === except || !this.#down.has(code)) continue
        this.#sendUp(code, modifiers)
        // Its key-up is lost, and with it the moment to let go of what macOS reported no key-up for.
        if (this.#platform === 'mac' && name === 'metaKey') this.#releaseOrdinary(event)
      }
    }
  }

  /**
   * Presses modifiers that the browser says are down though their key-down was not for us: they were held when the focus
   * came. As keys of ours they are let go like all others.
   */
  #adopt(event: ModifierState, except: string): void {
    const modifiers = this.#modifiers(event)
    for (const name of MODIFIER_KEYS) {
      const [left, right] = MODIFIER_CODES[name]
      if (!event[name] || left === except || right === except || this.#holds(left, right)) continue
      // Parts of AltGr, not keys that somebody holds.
      if ((name === 'ctrlKey' || name === 'altKey') && event.getModifierState('AltGraph')) continue
      this.#down.set(left, MODIFIER_NAMES[name])
      this.#emit(true, false, modifiers, left, MODIFIER_NAMES[name])
    }
  }

  #releaseOrdinary(event: ModifierState): void {
    for (const id of [...this.#down.keys()]) {
      if (!ALL_MODIFIER_CODES.has(id)) this.#sendUp(id, this.#modifiers(event))
    }
  }

  #modifiers(event: ModifierState & { key?: string; code?: string }): number {
    const typedWithOption = this.#platform === 'mac' && isTypedWithOption(event)
    const altGraph = event.getModifierState('AltGraph') || typedWithOption
    // Windows shows AltGr as Ctrl and Alt besides; with them the character would become a shortcut.
    const disguised = altGraph && this.#platform === 'windows'
    const ctrl = event.ctrlKey && (!disguised || this.#holds('ControlLeft', 'ControlRight'))
    const alt = event.altKey && !typedWithOption && (!disguised || this.#holds('AltLeft'))
    return (
      (event.shiftKey ? Modifier.shift : 0) |
      (ctrl ? Modifier.ctrl : 0) |
      (alt ? Modifier.alt : 0) |
      (event.metaKey ? Modifier.meta : 0) |
      (altGraph ? Modifier.altGraph : 0) |
      (event.getModifierState('CapsLock') ? Modifier.capsLock : 0) |
      (event.getModifierState('NumLock') ? Modifier.numLock : 0)
    )
  }

  #holds(...codes: string[]): boolean {
    return codes.some((code) => this.#down.has(code))
  }

  #mayBeFalseCtrl(event: KeyInput): boolean {
    return (
      this.#platform === 'windows' &&
      event.code === 'ControlLeft' &&
      !event.repeat &&
      !this.#down.has('ControlLeft')
    )
  }

  #isFalseCtrl(event: KeyInput): boolean {
    if (!this.#heldBack || event.code !== 'AltRight') return false
    return event.timeStamp - this.#heldBack.event.timeStamp < FALSE_CTRL_MS
  }

  #holdBack(event: KeyInput): void {
    this.#heldBack = { event, timer: setTimeout(() => this.flush(), FALSE_CTRL_MS) }
  }

  #dropHeldBack(): void {
    if (this.#heldBack) clearTimeout(this.#heldBack.timer)
    this.#heldBack = null
  }
}

function isMacShortcut(event: KeyInput): boolean {
  return event.metaKey && !event.ctrlKey && !event.altKey && MAC_SHORTCUTS.has(letterOf(event))
}

/** The letter that a shortcut means: by name, and in layouts without Latin letters by place, as browsers do. */
export function letterOf(event: { readonly key: string; readonly code: string }): string {
  if (/^[ -~]$/.test(event.key)) return event.key.toLowerCase()
  return /^Key[A-Z]$/.test(event.code) ? event.code.slice(3).toLowerCase() : ''
}

function isComposing(event: KeyInput): boolean {
  return event.isComposing || event.keyCode === COMPOSING_KEY_CODE || COMPOSING_KEYS.has(event.key)
}

/**
 * On macOS, Option is also what AltGr is elsewhere: a German keyboard types @ and [ with it. Those are ASCII; what Option
 * gives for shortcuts such as Option+B (an integral sign on a US keyboard) is not, and stays an Alt of that key.
 */
function isTypedWithOption(event: ModifierState & { key?: string; code?: string }): boolean {
  const { key = '', code = '' } = event
  if (!event.altKey || event.ctrlKey || event.metaKey || !/^[!-~]$/.test(key)) return false
  return code !== `Key${key.toUpperCase()}` && code !== `Digit${key}`
}

/** Physical code, or the name for keys without one (screen keyboards). */
function idOf(event: KeyInput): string {
  return event.code || `key:${event.key}`
}

function codeOf(id: string): string {
  return id.startsWith('key:') ? '' : id
}
