/**
 * Who looks and who controls: the panel, the holder's request card, the mark while the agent's hands are tied.
 *
 * In: the room; out: control requests.
 */

import { PEER_COLOURS } from '../view/peers.ts'
import { asking, holds, nameOf, obstacle, type Room, type Viewer } from '../view/room.ts'
import { Verb } from '../view/wire.ts'
import { element, label, make, makeButton } from './elements.ts'
import { controlWords } from './words.ts'

export class People {
  readonly button = element('toolbar-people', HTMLButtonElement)
  readonly panel = element('people', HTMLElement)
  readonly #count = element('toolbar-people-count', HTMLElement)
  readonly #state = element('people-state', HTMLElement)
  readonly #list = element('people-list', HTMLElement)
  readonly #actions = element('people-actions', HTMLElement)
  readonly #request = element('request', HTMLElement)
  readonly #requestText = element('request-text', HTMLElement)
  readonly #takeover = element('takeover', HTMLElement)
  readonly #control: (verb: Verb, viewer?: number) => void
  /** Whose request the card shows. */
  #asking: Viewer | null = null

  constructor(control: (verb: Verb, viewer?: number) => void) {
    this.#control = control
    const answer = (verb: Verb) => () => {
      if (this.#asking) control(verb, this.#asking.id)
    }
    element('request-give', HTMLButtonElement).addEventListener('click', answer(Verb.give))
    element('request-refuse', HTMLButtonElement).addEventListener('click', answer(Verb.refuse))
  }

  show(room: Room | null): void {
    this.button.hidden = room === null
    this.#showRequest(room)
    this.#showTakeover(room)
    if (!room) return
    const words = controlWords(room)
    label(this.button, words)
    this.#count.textContent = room.viewers.length > 1 ? String(room.viewers.length) : ''
    this.button.toggleAttribute('data-active', room.holder !== null && room.viewers.length > 1)
    this.#state.textContent = words
    this.#list.replaceChildren(...room.viewers.map((viewer) => this.#row(room, viewer)))
    this.#actions.replaceChildren(...this.#buttons(room))
    this.#actions.hidden = this.#actions.childElementCount === 0
  }

  #row(room: Room, viewer: Viewer): HTMLElement {
    const row = make('li', 'person')
    const mark = make('span', 'person-mark')
    mark.dataset.colour = String(viewer.id % PEER_COLOURS)
    const you = viewer.id === room.you
    const name = make('span', 'person-name', nameOf(room, viewer.id))
    row.append(mark, name)
    if (you) row.append(make('span', 'person-tag', 'you'))
    if (viewer.id === room.holder) row.append(make('span', 'person-role', 'controls'))
    else if (!viewer.control) row.append(make('span', 'person-tag person-end', 'watches'))
    if (!you && viewer.control && holds(room)) {
      row.append(makeButton('Give control', () => this.#control(Verb.give, viewer.id), 'button person-end'))
    }
    return row
  }

  #buttons(room: Room): HTMLElement[] {
    const held = holds(room)
    const blocked = obstacle(room)
    const buttons: HTMLElement[] = []
    const offer = (text: string, verb: Verb) => buttons.push(makeButton(text, () => this.#control(verb)))
    if (blocked?.kind === 'held') {
      if (room.asked.includes(room.you)) buttons.push(make('span', 'asked', 'Asked. Waiting for an answer.'))
      else offer('Ask for control', Verb.ask)
      offer('Take control', Verb.take)
    }
    if (blocked) return buttons
    if (held) offer('Release control', Verb.release)
    else offer('Take control', Verb.take)
    if (held && room.takenOver) offer('Give back to the agent', Verb.giveBack)
    else offer('Take over from the agent', Verb.takeOver)
    return buttons
  }

  #showRequest(room: Room | null): void {
    this.#asking = asking(room)[0] ?? null
    this.#request.hidden = this.#asking === null
    if (this.#asking) this.#requestText.textContent = `${nameOf(room, this.#asking.id)} asks for control`
  }

  #showTakeover(room: Room | null): void {
    const shown = room?.takenOver === true && room.holder !== null
    this.#takeover.hidden = !shown
    document.body.toggleAttribute('data-taken-over', shown)
    if (!shown || room.holder === null) return
    const who = holds(room) ? 'You have' : `${nameOf(room, room.holder)} has`
    const text = make('span', 'takeover-text', `${who} taken over from the agent`)
    const back = makeButton('Give back', () => this.#control(Verb.giveBack))
    this.#takeover.replaceChildren(text, ...(holds(room) ? [back] : []))
  }
}
