import { expect, test, vi } from 'vitest'
import { greeting } from './greeting.ts'

test('the hello says whether deflate streams can be read', () => {
  const hello = () => [...greeting({ width: 3, height: 4 })]
  expect(hello()).toEqual([1, 1, 3, 0, 4, 0, 1])
  vi.stubGlobal('DecompressionStream', undefined)
  expect(hello()).toEqual([1, 1, 3, 0, 4, 0, 0])
})

test.each([
  ['at once', { transferSize: 4000, requestStart: 5, responseStart: 17 }, 8],
  ['after a round trip', { transferSize: 4000, requestStart: 5, responseStart: 48 }, 0],
  ['from a cache', { transferSize: 0, requestStart: 5, responseStart: 6 }, 0],
])('the hello of a page that came %s says whether the server is near', (_, timing, near) => {
  vi.spyOn(performance, 'getEntriesByType').mockReturnValue([timing as PerformanceNavigationTiming])
  expect((greeting({ width: 3, height: 4 }).at(-1) ?? 0) & 8).toBe(near)
})
