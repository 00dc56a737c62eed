/**
 * Where the remote screen lies in the window, and which remote pixel is under a point. Pure arithmetic.
 *
 * Sizes are CSS pixels unless the name says otherwise. Position and size always fall on whole device pixels, because
 * anything else blurs every line of text.
 */

export interface Size {
  readonly width: number
  readonly height: number
}

export interface Rect extends Size {
  readonly left: number
  readonly top: number
}

export type FitMode = 'fit' | 'actual'

export interface Layout extends Rect {
  /** Device pixels per remote pixel. */
  readonly scale: number
  /** Whole-number enlargement: pixels stay sharp squares. Everything else is better smoothed. */
  readonly pixelated: boolean
}

/** A fit that is so little above a whole number is rounded down to it: sharpness is worth a narrow border. */
const SNAP = 1.08

/** Lays the screen out in the window: as large as fits, or its pixels as they are. */
export function layout(screen: Size, window: Size, devicePixelRatio: number, mode: FitMode): Layout {
  const ratio = devicePixelRatio > 0 ? devicePixelRatio : 1
  const scale =
    mode === 'fit'
      ? fitScale(screen, window, ratio)
      : // On a dense display a remote pixel takes as many device pixels as text elsewhere on it does.
        Math.max(1, Math.round(ratio))
  const width = wholePixels(screen.width * scale)
  const height = wholePixels(screen.height * scale)
  return {
    width: width / ratio,
    height: height / ratio,
    left: centred(window.width * ratio, width) / ratio,
    top: centred(window.height * ratio, height) / ratio,
    scale,
    pixelated: scale >= 1 && Number.isInteger(scale),
  }
}

/** Rounded down, so that nothing reaches past the window, but not by an error of the division before. */
function wholePixels(length: number): number {
  return Math.max(1, Math.floor(length + 1e-6))
}

function fitScale(screen: Size, window: Size, ratio: number): number {
  const scale = Math.min(
    (window.width * ratio) / Math.max(1, screen.width),
    (window.height * ratio) / Math.max(1, screen.height),
  )
  const whole = Math.floor(scale)
  return whole >= 1 && scale / whole < SNAP ? whole : scale
}

/** A screen larger than the window starts at its edge, so that scrolling reaches all of it. */
function centred(outer: number, inner: number): number {
  return Math.max(0, Math.floor((outer - inner) / 2))
}

/** The remote pixel under a point of the window; points outside the picture go to its nearest edge. */
export function remotePixel(point: { x: number; y: number }, picture: Rect, screen: Size) {
  return {
    x: remoteOffset(point.x - picture.left, picture.width, screen.width),
    y: remoteOffset(point.y - picture.top, picture.height, screen.height),
  }
}

function remoteOffset(offset: number, shown: number, pixels: number): number {
  if (shown <= 0) return 0
  return Math.max(0, Math.min(pixels - 1, Math.floor((offset * pixels) / shown)))
}
