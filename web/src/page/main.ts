/** The live view page: joins the library in `view/` to the elements of this page. */

import { Connection } from '../view/connection.ts'
import { cssCursor } from '../view/cursor.ts'
import { attachInput } from '../view/input.ts'
import { may, obstacle, type Room } from '../view/room.ts'
import type { View } from '../view/state.ts'
import { CanvasSurface } from '../view/surface.ts'
import { type Input, Verb } from '../view/wire.ts'
import { ClipboardButton } from './clipboard.ts'
import { Details } from './details.ts'
import { endpointOf } from './endpoint.ts'
import { Files } from './files.ts'
import { Hint } from './hint.ts'
import { Overlay } from './overlay.ts'
import { People } from './people.ts'
import { Pointers } from './pointers.ts'
import { exposeProbe } from './probe.ts'
import { ScreenMenu } from './screen-menu.ts'
import { SoundButton } from './sound.ts'
import { Stage } from './stage.ts'
import { Toolbar } from './toolbar.ts'
import { obstacleWords } from './words.ts'

const stage = new Stage()
const hint = new Hint()
let sessionId: string | null = null
let room: Room | null = null
/** Why the last hint was given: it is given once. */
let hinted = ''

const connection: Connection = new Connection(
  new CanvasSurface(stage.canvas),
  endpointOf(window.location.href),
  {
    onView: (view) => {
      // Whatever was held down was held on a connection that is gone now, or is not there yet.
      input.forget()
      overlay.show(view, sessionId)
      if (view.state === 'live') {
        toolbar.introduce()
        if (!toolbar.hasFocus) input.focus()
      }
      document.title = titleFor(view)
    },
    onStatus: (status) => {
      sessionId = status.sessionId ?? sessionId
      toolbar.describe(status)
      overlay.show(connection.view, sessionId)
      document.title = titleFor(connection.view)
    },
    onPicture: (width, height) => stage.resize({ width, height }),
    onPainted: () => {},
    onCursor: (cursor) => {
      stage.canvas.style.cursor = cssCursor(cursor)
    },
    onClipboard: (content) => clipboard.receive(content),
    onRoom: (next) => enter(next),
    onPeer: (peer) => pointers.take(peer),
    onSound: (seq, packet) => sound.take(seq, packet),
    onGone: () => {
      enter(null)
      clipboard.forget()
    },
  },
)

const clipboard = new ClipboardButton(
  {
    allowed: () => may(room, 'clipboard-out'),
    fetch: () => connection.request({ kind: 'fetch-clipboard' }),
  },
  stage.keys,
  hint,
)
const control = (verb: Verb, viewer = 0) => connection.request({ kind: 'control', verb, viewer })
const people = new People(control)
const pointers = new Pointers(stage)
const sound = new SoundButton((on) => connection.request({ kind: 'sound', on }))
const screenMenu = new ScreenMenu(stage, new Details(connection, () => stage.size), (size) =>
  connection.request({ kind: 'resize', ...size }),
)
const files: Files = new Files(() => toolbar.open(files.button))

const input = attachInput(
  {
    screen: stage.canvas,
    keys: stage.keys,
    locate: (clientX, clientY) => stage.locate(clientX, clientY),
    shortcut: (event) => {
      if (event.key === 'Escape' && toolbar.menus.close()) return true
      const asked = event.code === 'KeyM' && event.ctrlKey && event.altKey && event.shiftKey
      if (asked) toolbar.enter()
      return asked
    },
    allowed: () => obstacle(room) === null,
    refused: () => tellObstacle(),
    clipboard: {
      enabled: () => may(room, 'clipboard-in'),
      judge: (text) => {
        const verdict = clipboard.clipboard.judge(text)
        if (verdict === 'refuse')
          hint.say('This text is too long for the clipboard: at most 1 MiB can be pasted')
        return verdict
      },
    },
  },
  (message) => send(message),
)

const overlay = new Overlay(() => {
  // The server takes a page that is opened for somebody who wants the session to go on.
  if (connection.view.state === 'paused') location.reload()
  else connection.wake()
})
const toolbar = new Toolbar(input.focus, stage.keys)
toolbar.menus.add(people.button, people.panel)
toolbar.menus.add(files.button, files.panel, () => void files.refresh())
toolbar.menus.add(screenMenu.button, screenMenu.panel)
enter(null)

window.addEventListener('online', () => connection.wake())
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') connection.wake()
})
// Whoever comes back to the window wants to type into the screen, unless a control of the page has the focus.
window.addEventListener('focus', () => {
  if (document.activeElement === document.body) input.focus()
})

exposeProbe(connection, () => stage.size)
connection.start()

function send(message: Input): void {
  connection.send(message)
  if (message.kind === 'clipboard') {
    clipboard.clipboard.sent(message.text)
    clipboard.refresh()
  }
}

/** The session says who looks and controls, or there is no session to say it. */
function enter(next: Room | null): void {
  const before = { room, blocked: obstacle(room) !== null }
  room = next
  const blocked = obstacle(room) !== null
  // What is down now is another one's to let go: the server does it when control changes hands.
  if (blocked !== before.blocked) input.forget()
  document.body.toggleAttribute('data-blocked', blocked)
  people.show(room)
  pointers.setRoom(room)
  screenMenu.setRoom(room)
  sound.offer(room?.sound === true)
  files.allow(may(room, 'files'))
  clipboard.refresh()
  const changed = before.room && room && before.room.holder !== room.holder && room.viewers.length > 1
  if (changed) toolbar.notice()
  if (before.blocked && !blocked) {
    hint.hide()
    hinted = ''
  }
}

function tellObstacle(): void {
  const why = obstacle(room)
  if (!why || connection.view.state !== 'live') return
  const words = obstacleWords(room, why)
  if (hinted === words) return
  hinted = words
  hint.say(words, why.kind === 'held' ? { label: 'Ask for it', act: () => control(Verb.ask) } : undefined)
}

function titleFor(view: View): string {
  const name = sessionId ?? 'Live view'
  switch (view.state) {
    case 'live':
      return `${name} · Berth`
    case 'connecting':
      return `Connecting · ${name} · Berth`
    case 'reconnecting':
      return `Reconnecting · ${name} · Berth`
    case 'paused':
      return `Paused · ${name} · Berth`
    case 'ended':
      return `Ended · ${name} · Berth`
  }
}
