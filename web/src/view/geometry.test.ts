import fc from 'fast-check'
import { expect, test } from 'vitest'
import { layout, remotePixel } from './geometry.ts'

const SCREEN = { width: 1280, height: 720 }

test('the screen fits the window, keeps its shape and stands in the middle', () => {
  expect(layout(SCREEN, { width: 640, height: 720 }, 1, 'fit')).toMatchObject({
    width: 640,
    height: 360,
    left: 0,
    top: 180,
    pixelated: false,
  })
})

test('a window of twice the size shows sharp squares', () => {
  expect(layout(SCREEN, { width: 2560, height: 1440 }, 1, 'fit')).toMatchObject({ scale: 2, pixelated: true })
})

test('a window a little larger than the screen shows its pixels as they are', () => {
  expect(layout(SCREEN, { width: 1340, height: 760 }, 1, 'fit')).toMatchObject({
    width: 1280,
    height: 720,
    left: 30,
    top: 20,
    scale: 1,
  })
})

test('actual size counts device pixels, and takes more of them on a dense display', () => {
  expect(layout(SCREEN, { width: 800, height: 600 }, 1, 'actual')).toMatchObject({
    width: 1280,
    left: 0,
    top: 0,
  })
  expect(layout(SCREEN, { width: 800, height: 600 }, 1.25, 'actual')).toMatchObject({ width: 1024, scale: 1 })
  expect(layout(SCREEN, { width: 800, height: 600 }, 2, 'actual')).toMatchObject({ width: 1280, scale: 2 })
})

test('the picture always lies on whole device pixels', () => {
  const side = fc.integer({ min: 1, max: 4000 })
  fc.assert(
    fc.property(
      side,
      side,
      side,
      side,
      fc.constantFrom(1, 1.25, 1.5, 2, 3),
      (width, height, outer, upper, dpr) => {
        const place = layout({ width, height }, { width: outer, height: upper }, dpr, 'fit')
        for (const edge of [place.left, place.top, place.width, place.height]) {
          expect(edge * dpr).toBeCloseTo(Math.round(edge * dpr), 6)
        }
        // One device pixel is the least that a picture takes, however small the window is.
        expect(place.width * dpr).toBeLessThanOrEqual(Math.max(1, outer * dpr + 1e-6))
        expect(place.height * dpr).toBeLessThanOrEqual(Math.max(1, upper * dpr + 1e-6))
      },
    ),
  )
})

test('the middle of every shown pixel is that pixel', () => {
  const picture = { left: 13, top: 7, width: 960, height: 540 }
  for (let x = 0; x < SCREEN.width; x += 7) {
    const clientX = picture.left + ((x + 0.5) * picture.width) / SCREEN.width
    expect(remotePixel({ x: clientX, y: picture.top }, picture, SCREEN)).toEqual({ x, y: 0 })
  }
})

test('points outside go to the nearest edge', () => {
  const picture = { left: 10, top: 10, width: 100, height: 100 }
  const screen = { width: 50, height: 50 }
  expect(remotePixel({ x: -500, y: 9 }, picture, screen)).toEqual({ x: 0, y: 0 })
  expect(remotePixel({ x: 110, y: 5000 }, picture, screen)).toEqual({ x: 49, y: 49 })
})
