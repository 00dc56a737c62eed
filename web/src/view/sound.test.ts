import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DELAY_MAX_S, DELAY_S, PlayClock } from './sound.ts'

test('pieces follow each other without a gap, after a short wait for the first', () => {
  const clock = new PlayClock()
  expect(clock.begin(10, 0.02)).toBeCloseTo(10 + DELAY_S)
  expect(clock.begin(10.03, 0.02)).toBeCloseTo(10 + DELAY_S + 0.02)
})

test('after silence it begins anew', () => {
  const clock = new PlayClock()
  clock.begin(10, 0.02)
  expect(clock.begin(20, 0.02)).toBeCloseTo(20 + DELAY_S)
})

test('however pieces come, none overlaps another or is later than allowed', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 0.2, noNaN: true }), { maxLength: 200 }), (waits) => {
      const clock = new PlayClock()
      let [nowS, endS] = [0, 0]
      for (const wait of waits) {
        nowS += wait
        const atS = clock.begin(nowS, 0.02)
        if (atS === null) continue
        expect(atS).toBeGreaterThanOrEqual(endS)
        expect(atS - nowS).toBeLessThanOrEqual(DELAY_MAX_S)
        endS = atS + 0.02
      }
    }),
  )
})
