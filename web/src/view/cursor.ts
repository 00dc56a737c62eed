/** The remote pointer's shape as a CSS cursor. */

import type { CursorShape } from './wire.ts'

/** Browsers refuse larger images, some of them silently. */
const CSS_CURSOR_SIDE_MAX = 128

/** The value of the `cursor` property that shows this shape. Its image is a data URL: it needs no request. */
export function cssCursor(cursor: CursorShape): string {
  const { width, height } = cursor
  if (width === 0 || height === 0) return 'none'
  if (width > CSS_CURSOR_SIDE_MAX || height > CSS_CURSOR_SIDE_MAX) return 'default'
  const canvas = document.createElement('canvas')
  canvas.width = width
  canvas.height = height
  const context = canvas.getContext('2d')
  if (!context) return 'default'
  context.putImageData(new ImageData(new Uint8ClampedArray(cursor.rgba), width, height), 0, 0)
  const hotX = Math.min(cursor.hotX, width - 1)
  const hotY = Math.min(cursor.hotY, height - 1)
  return `url(${canvas.toDataURL('image/png')}) ${hotX} ${hotY}, default`
}
