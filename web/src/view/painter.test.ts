import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ArraySurface } from './array-surface.ts'
import { MalformedError } from './bytes.ts'
import { Painter } from './painter.ts'

/** Writes operations as the server does. */
const u16 = (...values: number[]) => values.flatMap((value) => [value & 0xff, value >> 8])
const copy = (...fields: number[]) => [1, ...u16(...fields)]
const fill = (x: number, y: number, w: number, h: number, ...rgb: number[]) => [2, ...u16(x, y, w, h), ...rgb]
const palette = (x: number, y: number, w: number, h: number, colours: number[][], data: number[]) => [
  ...[3, ...u16(x, y, w, h), colours.length - 1],
  ...colours.flat(),
  ...data,
]
const trueColour = (x: number, y: number, w: number, h: number, data: number[]) => [
  4,
  ...u16(x, y, w, h),
  ...data,
]

function paint(width: number, height: number, ...ops: number[][]): ArraySurface {
  const surface = new ArraySurface(width, height)
  new Painter().paint(Uint8Array.from(ops.flat()), surface)
  return surface
}

test('a fill paints its area in its colour', () => {
  expect(paint(3, 2, fill(1, 0, 2, 1, 255, 128, 1)).rows).toEqual([
    ['000000', 'ff8001', 'ff8001'],
    ['000000', '000000', '000000'],
  ])
})

test('a copy reads its source as it was before, also where both overlap', () => {
  const columns = [1, 2, 3, 4].map((value, x) => fill(x, 0, 1, 1, value, 0, 0))
  expect(paint(4, 1, ...columns, copy(0, 0, 1, 0, 3, 1)).rows).toEqual([
    ['010000', '010000', '020000', '030000'],
  ])
  expect(paint(4, 1, ...columns, copy(1, 0, 0, 0, 3, 1)).rows).toEqual([
    ['020000', '030000', '040000', '040000'],
  ])
})

test('two colours take one bit a pixel, lowest bit first, each row from a new byte', () => {
  const colours = [
    [0, 0, 0],
    [255, 255, 255],
  ]
  const { rows } = paint(9, 2, palette(0, 0, 9, 2, colours, [0b00000001, 1, 0b10000000, 0]))
  const lit = rows.map((row) => row.map((pixel) => (pixel === 'ffffff' ? 1 : 0)).join(''))
  expect(lit).toEqual(['100000001', '000000010'])
})

test('other palettes take one byte a pixel', () => {
  expect(paint(2, 1, palette(0, 0, 2, 1, [[1, 2, 3]], [0, 0])).rows).toEqual([['010203', '010203']])
  const colours = Array.from({ length: 256 }, (_, value) => [value, 0, 255 - value])
  expect(paint(3, 1, palette(0, 0, 3, 1, colours, [0, 255, 16])).rows).toEqual([
    ['0000ff', 'ff0000', '1000ef'],
  ])
})

test('an index past the palette paints black and harms nothing', () => {
  const colours = [
    [1, 1, 1],
    [2, 2, 2],
    [3, 3, 3],
  ]
  expect(paint(2, 1, palette(0, 0, 2, 1, colours, [200, 2])).rows).toEqual([['000000', '030303']])
})

/** The encoder that the format describes, from pixels as [red, green, blue]. */
function differences(rows: number[][][]): number[] {
  return rows.flatMap((row) => {
    let [green, redOver, blueOver] = [0, 0, 0]
    return row.flatMap(([r = 0, g = 0, b = 0]) => {
      const out = [g - green, r - g - redOver, b - g - blueOver].map((value) => value & 0xff)
      ;[green, redOver, blueOver] = [g, r - g, b - g]
      return out
    })
  })
}

test('true colour gives back every picture exactly, however its sums wrap', () => {
  const colour = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255))
  const picture = fc
    .tuple(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 5 }))
    .chain(([width, height]) =>
      fc.array(fc.array(colour, { minLength: width, maxLength: width }), {
        minLength: height,
        maxLength: height,
      }),
    )
  fc.assert(
    fc.property(picture, (rows) => {
      const [height, width] = [rows.length, rows[0]?.length ?? 0]
      const painted = paint(width, height, trueColour(0, 0, width, height, differences(rows)))
      const expected = rows.map((row) =>
        row.map((pixel) => pixel.map((value) => value.toString(16).padStart(2, '0')).join('')),
      )
      expect(painted.rows).toEqual(expected)
    }),
  )
})

test('operations follow each other in one update', () => {
  const surface = paint(
    2,
    2,
    fill(0, 0, 2, 2, 9, 9, 9),
    trueColour(0, 0, 1, 1, [1, 0, 0]),
    copy(0, 0, 1, 1, 1, 1),
  )
  expect(surface.rows).toEqual([
    ['010101', '090909'],
    ['090909', '010101'],
  ])
})

test.each<[string, number[]]>([
  ['an unknown operation', [9]],
  ['a fill past the right edge', fill(3, 0, 2, 1, 1, 1, 1)],
  ['a fill past the lower edge', fill(0, 4, 1, 1, 1, 1, 1)],
  ['a copy from outside', copy(3, 3, 0, 0, 2, 2)],
  ['a copy to outside', copy(0, 0, 3, 3, 2, 2)],
  ['a fill without its colour', fill(0, 0, 1, 1, 1, 1)],
  ['a palette without its colours', palette(0, 0, 1, 1, [[1, 2]], [])],
  ['a palette without its pixels', palette(0, 0, 2, 2, [[1, 2, 3]], [0, 0, 0])],
  ['true colour without its pixels', trueColour(0, 0, 2, 2, [0, 0, 0])],
  ['half an operation', [1, 0]],
  [
    'more work than any picture is worth',
    Array.from({ length: 100 }, () => fill(0, 0, 4, 4, 1, 1, 1)).flat(),
  ],
])('%s is malformed', (_, ops) => {
  expect(() => paint(4, 4, ops)).toThrow(MalformedError)
})

test('any bytes either paint inside the screen or are malformed', () => {
  const op = fc.constantFrom(1, 2, 3, 4)
  const near = fc.nat(5)
  const plausible = fc
    .tuple(op, fc.array(near, { minLength: 6, maxLength: 6 }), fc.uint8Array({ maxLength: 40 }))
    .map(([kind, fields, rest]) => [kind, ...u16(...fields), ...rest])
  fc.assert(
    fc.property(fc.array(plausible, { maxLength: 4 }), (ops) => {
      try {
        paint(4, 4, ...ops)
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedError)
      }
    }),
    { numRuns: 2000 },
  )
})
