/**
 * Where this page's server is: beside the page's own URL, whatever prefix, host or scheme it was reached by.
 * The page is served with a slash at the end of its path, so `./` is the folder of this view alone.
 */

import type { Endpoint } from '../view/connection.ts'

function toBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replace(/\+/g, '-')
    .replace(/\//g, '_')
    .replace(/=+$/, '')
}

export function endpointOf(page: string): Endpoint {
  const status = new URL('./status', page)
  const socket = new URL('./ws', page)
  socket.protocol = socket.protocol === 'https:' ? 'wss:' : 'ws:'
  return {
    open(hello) {
      const url = new URL(socket)
      url.searchParams.set('hello', toBase64Url(hello))
      return new WebSocket(url)
    },
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
