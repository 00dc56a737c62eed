/** What a page says first. */

import { canInflate } from './inflate.ts'
import { canDecodeJpeg, canDecodeVideo } from './video.ts'
import { Capability, encodeHello } from './wire.ts'

/** A page that came within so long came over a local link, or nearly: its first picture may be large. */
const NEAR_MS = 30

/** How large the page's window is (device pixels), what this browser can decode, and how far it is from the server. */
export function greeting(viewport: { width: number; height: number }): Uint8Array<ArrayBuffer> {
  const capabilities =
    (canInflate() ? Capability.deflateRaw : 0) |
    (canDecodeVideo() ? Capability.video : 0) |
    (canDecodeJpeg() ? Capability.jpeg : 0) |
    (isNear() ? Capability.near : 0)
  return encodeHello(viewport, capabilities)
}

/** By how long the server took to answer for this page; an answer from a cache says nothing. */
function isNear(): boolean {
  const [page] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[]
  return page !== undefined && page.transferSize > 0 && page.responseStart - page.requestStart < NEAR_MS
}
