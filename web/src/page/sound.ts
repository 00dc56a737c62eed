/** The button for the session's sound: off at first, remembered, there only if the session has any. */

import { canDecodeSound, Sound } from '../view/sound.ts'
import { element, label } from './elements.ts'
import { remember, remembered } from './settings.ts'

export class SoundButton {
  readonly #button = element('toolbar-sound', HTMLButtonElement)
  readonly #sound = new Sound()
  readonly #request: (on: boolean) => void
  #offered = false
  #wanted = remembered('sound') === 'on'

  constructor(request: (on: boolean) => void) {
    this.#request = request
    this.#button.addEventListener('click', () => {
      this.#wanted = !this.#wanted
      remember('sound', this.#wanted ? 'on' : 'off')
      this.#apply()
      this.#sound.resume()
    })
    // Browsers let no page sound before somebody has clicked or typed in it.
    for (const type of ['pointerup', 'keydown'] as const) {
      window.addEventListener(type, () => this.#sound.resume(), { capture: true, passive: true })
    }
  }

  /** Whether this connection's session has sound; false when there is no connection. */
  offer(offered: boolean): void {
    if (this.#offered === offered) return
    this.#offered = offered
    this.#apply()
  }

  take(seq: number, packet: Uint8Array<ArrayBuffer>): void {
    this.#sound.take(seq, packet)
  }

  #apply(): void {
    // Without a secure origin no browser can: there is nothing to tell.
    this.#button.hidden = !this.#offered || !isSecureContext
    this.#button.disabled = !canDecodeSound()
    const on = this.#offered && this.#wanted && canDecodeSound()
    if (on !== this.#sound.on) {
      this.#request(on)
      if (on) this.#sound.start()
      else this.#sound.stop()
    }
    const words = this.#wanted ? 'Turn the sound off' : 'Turn the sound on'
    label(
      this.#button,
      canDecodeSound() ? words : 'This browser cannot play the session’s sound',
      this.#wanted && canDecodeSound() ? '#icon-sound' : '#icon-mute',
    )
    this.#button.setAttribute('aria-pressed', String(on))
  }
}
