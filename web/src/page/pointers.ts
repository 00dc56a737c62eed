/** Draws the pointers of the agent and of other people over the screen. */

import { type Peer, Peers } from '../view/peers.ts'
import { nameOf, type Room } from '../view/room.ts'
import type { PeerPointer } from '../view/share.ts'
import { make } from './elements.ts'
import type { Stage } from './stage.ts'

const SVG = 'http://www.w3.org/2000/svg'

/** How often is looked whether a pointer has faded; nothing runs while there is none. */
const CHECK_MS = 250

/** Behind this part of the screen's width and height, a label lies on the arrow's other side. */
const FLIP_AT = 0.85

interface Drawn {
  readonly element: HTMLElement
  readonly label: HTMLElement
  presses: number
}

export class Pointers {
  readonly #stage: Stage
  readonly #peers = new Peers()
  readonly #drawn = new Map<string, Drawn>()
  #room: Room | null = null
  #frame: number | null = null
  #check: ReturnType<typeof setTimeout> | null = null

  constructor(stage: Stage) {
    this.#stage = stage
  }

  take(message: PeerPointer): void {
    this.#peers.take(message, performance.now())
    this.#frame ??= requestAnimationFrame(() => this.#draw())
  }

  setRoom(room: Room | null): void {
    this.#room = room
    if (!room) this.#peers.clear()
    this.#draw()
  }

  #draw(): void {
    if (this.#frame !== null) cancelAnimationFrame(this.#frame)
    this.#frame = null
    const peers = this.#peers.at(performance.now())
    const present = new Set(peers.map(({ key }) => key))
    for (const [key, { element }] of this.#drawn) {
      if (present.has(key)) continue
      element.remove()
      this.#drawn.delete(key)
    }
    for (const peer of peers) this.#place(peer)
    if (this.#check !== null) clearTimeout(this.#check)
    this.#check = peers.length > 0 ? setTimeout(() => this.#draw(), CHECK_MS) : null
  }

  #place(peer: Peer): void {
    const { width, height } = this.#stage.size
    const drawn = this.#drawn.get(peer.key) ?? this.#add(peer)
    const { element, label } = drawn
    const [x, y] = [Math.min(peer.x, width - 1) / width, Math.min(peer.y, height - 1) / height]
    element.style.left = `${x * 100}%`
    element.style.top = `${y * 100}%`
    element.toggleAttribute('data-left', x > FLIP_AT)
    element.toggleAttribute('data-above', y > FLIP_AT)
    element.toggleAttribute('data-pressed', peer.pressed)
    element.toggleAttribute('data-types', peer.types)
    const name = peer.agent ? 'Agent' : nameOf(this.#room, peer.viewer)
    if (label.textContent !== name) label.textContent = name
    if (drawn.presses !== peer.presses) {
      drawn.presses = peer.presses
      const ripple = make('span', 'ripple')
      ripple.addEventListener('animationend', () => ripple.remove())
      // One at a time, however often is clicked.
      element.querySelector('.ripple')?.remove()
      element.append(ripple)
    }
  }

  #add(peer: Peer): Drawn {
    const element = make('div', 'peer')
    if (peer.agent) element.dataset.agent = ''
    else element.dataset.colour = String(peer.colour)
    const arrow = document.createElementNS(SVG, 'svg')
    const use = document.createElementNS(SVG, 'use')
    use.setAttribute('href', '#icon-arrow')
    arrow.append(use)
    const label = make('span', 'peer-name')
    const types = make('span', 'peer-types')
    types.append(make('i', ''), make('i', ''), make('i', ''))
    const tag = make('span', 'peer-tag')
    tag.append(label, types)
    element.append(arrow, tag)
    this.#stage.pointers.append(element)
    const drawn = { element, label, presses: 0 }
    this.#drawn.set(peer.key, drawn)
    return drawn
  }
}
