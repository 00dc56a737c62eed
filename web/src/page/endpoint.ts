/**
 * Where this page's server is: beside the page's own URL, whatever prefix, host or scheme it was reached by.
 * The page is served with a slash at the end of its path, so `./` is the folder of this view alone.
 */

import type { Endpoint } from '../view/connection.ts'

export function endpointOf(page: string): Endpoint {
  const status = new URL('./status', page)
  const socket = new URL('./ws', page)
  socket.protocol = socket.protocol === 'https:' ? 'wss:' : 'ws:'
  return {
    open: () => new WebSocket(socket),
    async status(signal) {
      const response = await fetch(status, { cache: 'no-store', signal })
      const body: unknown = await response.json()
      return body
    },
    viewport: () => ({
      width: window.innerWidth * window.devicePixelRatio,
      height: window.innerHeight * window.devicePixelRatio,
    }),
  }
}
