/**
 * Where this page's server is: beside the page's own URL, whatever prefix, host or scheme it was reached by.
 * The page is served with a slash at the end of its path, so `./` is the folder of this view alone.
 */

import type { Endpoint, OpenSocket } from '../view/connection.ts'
import type { EarlySocket } from '../view/early.ts'
import { greeting } from '../view/greeting.ts'

function toBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replace(/\+/g, '-')
    .replace(/\//g, '_')
    .replace(/=+$/, '')
}

declare global {
  interface Window {
    /** The socket that `first.ts` opened before this page's scripts were there. */
    earlySocket?: EarlySocket
  }
}

/** Opens a socket to the live view that `page` shows. */
export function openSocket(page: string): OpenSocket {
  const hello = greeting({
    width: window.innerWidth * window.devicePixelRatio,
    height: window.innerHeight * window.devicePixelRatio,
  })
  const url = new URL('./ws', page)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  url.searchParams.set('hello', toBase64Url(hello))
  return { socket: new WebSocket(url), hello }
}

export function endpointOf(page: string): Endpoint {
  const status = new URL('./status', page)
  return {
    open: () => window.earlySocket?.take() ?? openSocket(page),
    async status(signal) {
      const response = await fetch(status, { cache: 'no-store', signal })
      const body: unknown = await response.json()
      return body
    },
  }
}
