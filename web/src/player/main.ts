/** The page that plays a recording: joins the player to the elements of this page. */

import { element } from '../page/elements.ts'
import { cssCursor } from '../view/cursor.ts'
import type { PeerPointer } from '../view/share.ts'
import { Calls, clock, ROWS_MAX } from './calls.ts'
import { Player } from './player.ts'
import { beganAt, type Contents, Source } from './recording.ts'

/** A key moves the clock by so much. */
const KEY_STEP_MS = 5000

/** A pointer that was pressed shows it for so long. */
const PRESS_MS = 250

const SVG = 'http://www.w3.org/2000/svg'

const stage = element('stage', HTMLElement)
const pointer = element('pointer', HTMLElement)
const message = element('message', HTMLElement)
const playButton = element('play', HTMLButtonElement)
const position = element('position', HTMLInputElement)
const speed = element('speed', HTMLSelectElement)
const skip = element('skip', HTMLInputElement)
const time = element('time', HTMLElement)

function fail(error: unknown): void {
  message.textContent = error instanceof Error ? error.message : String(error)
  message.hidden = false
}

async function start(): Promise<void> {
  const source = new Source(new URL('./', window.location.href))
  const contents = await source.contents()
  let canvas: HTMLCanvasElement | null = null
  let peer: PeerPointer | null = null

  const placePointer = () => {
    pointer.hidden = !peer || !canvas
    if (!peer || !canvas) return
    // The picture lies in its element as `object-fit: contain` says.
    const box = canvas.getBoundingClientRect()
    const scale = Math.min(box.width / canvas.width, box.height / canvas.height)
    const left = (box.width - canvas.width * scale) / 2 + peer.x * scale
    const top = (box.height - canvas.height * scale) / 2 + peer.y * scale
    pointer.style.transform = `translate(${left}px, ${top}px)`
    pointer.toggleAttribute('data-agent', peer.agent)
    if (peer.action === 'down') {
      pointer.toggleAttribute('data-down', true)
      setTimeout(() => pointer.removeAttribute('data-down'), PRESS_MS)
    }
  }

  const player: Player = new Player(contents, source, {
    onCanvas: (next) => {
      message.hidden = true
      next.id = 'screen'
      canvas?.remove()
      stage.prepend(next)
      canvas = next
      placePointer()
    },
    onPeer: (next) => {
      peer = next
      placePointer()
    },
    onCursor: (cursor) => {
      stage.style.cursor = cssCursor(cursor)
    },
    onChange: () => show(),
    onError: fail,
  })
  const events = contents.events.slice(0, ROWS_MAX)
  const calls = new Calls(element('calls', HTMLElement), events, source, (to) => player.seek(to))

  const show = () => {
    position.value = String(player.time)
    position.style.setProperty('--done', `${(player.time / Math.max(1, contents.duration)) * 100}%`)
    time.textContent = `${clock(player.time)} / ${clock(contents.duration)}`
    playButton.toggleAttribute('data-playing', player.playing)
    playButton.ariaLabel = player.playing ? 'Pause' : 'Play'
    calls.follow(player.time)
  }

  document.title = `${contents.about.sessionId} · recording · Berth`
  element('session', HTMLElement).textContent = contents.about.sessionId
  element('started', HTMLElement).textContent = new Date(contents.about.started).toLocaleString()
  element('aside', HTMLElement).hidden = events.length === 0
  position.max = String(contents.duration)
  markEvents(contents)

  const toggle = () => (player.playing ? player.pause() : player.play())
  playButton.addEventListener('click', toggle)
  position.addEventListener('input', () => player.seek(Number(position.value)))
  speed.addEventListener('change', () => {
    player.speed = Number(speed.value)
  })
  skip.addEventListener('change', () => {
    player.skipsIdle = skip.checked
  })
  window.addEventListener('resize', placePointer)
  window.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target instanceof HTMLSelectElement) return
    if (event.key === ' ' && !(event.target instanceof HTMLButtonElement)) toggle()
    else if (event.key === 'ArrowLeft') player.seek(player.time - KEY_STEP_MS)
    else if (event.key === 'ArrowRight') player.seek(player.time + KEY_STEP_MS)
    else return
    event.preventDefault()
  })

  // For tests: figures of the running page.
  Object.defineProperty(window, '__berthPlayer', {
    value: Object.freeze({
      get time() {
        return player.time
      },
      get settled() {
        return player.settled
      },
      get playing() {
        return player.playing
      },
      get size() {
        return player.size
      },
      duration: contents.duration,
      segments: contents.segments.length,
      seek: (to: number) => player.seek(to),
    }),
  })
  if (contents.segments.length === 0) fail(new Error('There is no picture in this recording.'))
  player.seek(0)
}

/** Puts a mark on the timeline where each call began. */
function markEvents(contents: Contents): void {
  const marks = element('marks', SVGSVGElement)
  for (const event of contents.events.slice(0, ROWS_MAX)) {
    const line = document.createElementNS(SVG, 'rect')
    const at = (beganAt(event) / Math.max(1, contents.duration)) * 100
    line.setAttribute('x', `${at}%`)
    line.setAttribute('width', '2')
    line.setAttribute('height', '8')
    const failed = event.event.kind === 'tool' && event.event.failed
    line.setAttribute('class', failed ? 'tick failed' : 'tick')
    marks.append(line)
  }
}

start().catch(fail)
