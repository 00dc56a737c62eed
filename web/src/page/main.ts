/** The live view page: joins the library in `view/` to the elements of this page. */

import { Connection } from '../view/connection.ts'
import { cssCursor } from '../view/cursor.ts'
import { attachInput } from '../view/input.ts'
import type { View } from '../view/state.ts'
import { CanvasSurface } from '../view/surface.ts'
import { endpointOf } from './endpoint.ts'
import { Overlay } from './overlay.ts'
import { exposeProbe } from './probe.ts'
import { Stage } from './stage.ts'
import { Toolbar } from './toolbar.ts'

/** The figure in the toolbar is read by a person: more often would only flicker. */
const LATENCY_SHOWN_EVERY_MS = 1000

const stage = new Stage()
let sessionId: string | null = null

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
  },
)

const input = attachInput(
  {
    screen: stage.canvas,
    keys: stage.keys,
    locate: (clientX, clientY) => stage.locate(clientX, clientY),
    shortcut: (event) => {
      const asked = event.code === 'KeyM' && event.ctrlKey && event.altKey && event.shiftKey
      if (asked) toolbar.enter()
      return asked
    },
  },
  (message) => connection.send(message),
)

const overlay = new Overlay(() => {
  // The server takes a page that is opened for somebody who wants the session to go on.
  if (connection.view.state === 'paused') location.reload()
  else connection.wake()
})
const toolbar = new Toolbar(
  {
    mode: () => stage.mode,
    setMode: (mode) => {
      stage.mode = mode
    },
    leave: input.focus,
  },
  stage.keys,
)

window.addEventListener('online', () => connection.wake())
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') connection.wake()
})
// Whoever comes back to the window wants to type into the screen, unless a control of the page has the focus.
window.addEventListener('focus', () => {
  if (document.activeElement === document.body) input.focus()
})
setInterval(() => toolbar.showLatency(connection.figures.latencyMs), LATENCY_SHOWN_EVERY_MS)

exposeProbe(connection, () => stage.size)
connection.start()

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
