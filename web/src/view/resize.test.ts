import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Size } from './geometry.ts'
import { RESIZE_SETTLE_MS, Resizer, remoteSizeFor } from './resize.ts'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

const MAX = { width: 3840, height: 2160 }

test('a window has its device pixels, even and within what is allowed', () => {
  expect(remoteSizeFor({ width: 1001, height: 700 }, 1, MAX)).toEqual({ width: 1000, height: 700 })
  expect(remoteSizeFor({ width: 1000, height: 700 }, 1.5, MAX)).toEqual({ width: 1500, height: 1050 })
  expect(remoteSizeFor({ width: 100, height: 9000 }, 1, MAX)).toEqual({ width: 320, height: 2160 })
  const side = fc.double({ min: 0, max: 1e5, noNaN: true })
  fc.assert(
    fc.property(side, side, fc.double({ min: 0.1, max: 5 }), (width, height, ratio) => {
      const size = remoteSizeFor({ width, height }, ratio, MAX)
      expect([size.width % 2, size.height % 2]).toEqual([0, 0])
      expect(size.width).toBeGreaterThanOrEqual(320)
      expect(size.height).toBeLessThanOrEqual(2160)
    }),
  )
})

test('a window that changes is asked about once, when it is still', () => {
  const asked: Size[] = []
  const resizer = new Resizer((size) => asked.push(size))
  const present = { width: 1280, height: 720 }
  for (let width = 800; width <= 1000; width += 50) {
    resizer.want({ width, height: 600 }, present)
    vi.advanceTimersByTime(RESIZE_SETTLE_MS - 1)
  }
  expect(asked).toEqual([])
  vi.advanceTimersByTime(1)
  expect(asked).toEqual([{ width: 1000, height: 600 }])
  // The server does not do it: it is not asked for ever.
  resizer.want({ width: 1000, height: 600 }, present)
  vi.advanceTimersByTime(1000)
  expect(asked).toHaveLength(1)
  resizer.forget()
  resizer.want({ width: 1000, height: 600 }, present)
  vi.advanceTimersByTime(1000)
  expect(asked).toHaveLength(2)
})

test('a screen of the right size is left alone', () => {
  const asked: Size[] = []
  const resizer = new Resizer((size) => asked.push(size))
  resizer.want({ width: 800, height: 600 }, { width: 1280, height: 720 })
  resizer.want({ width: 1280, height: 720 }, { width: 1280, height: 720 })
  vi.advanceTimersByTime(1000)
  expect(asked).toEqual([])
})
