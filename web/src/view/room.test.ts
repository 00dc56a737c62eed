import fc from 'fast-check'
import { expect, test } from 'vitest'
import { asking, holds, may, mayResize, nameOf, obstacle, parseRoom, type Room } from './room.ts'

const ANN = { id: 3, name: 'Ann', control: true, since: 1700000000000 }
const STATE = {
  ...{ rights: ['view', 'control', 'files'], holder: 3, asked: [4], takenOver: false },
  ...{ resizable: true, maxWidth: 3840, maxHeight: 2160, sound: true },
  viewers: [ANN, { id: 4, name: '', control: true, since: 1 }, { id: 5, name: 'Bob', control: false }],
}

function room(you: number, fields: object = {}): Room {
  const parsed = parseRoom(you, { ...STATE, ...fields })
  if (!parsed) throw new Error('this is a room')
  return parsed
}

test('a state names the viewer, its rights, who holds control and who looks', () => {
  expect(room(4)).toMatchObject({
    ...{ you: 4, holder: 3, asked: [4], takenOver: false, resizable: true, sound: true },
    maxSize: { width: 3840, height: 2160 },
    viewers: [{ id: 3, name: 'Ann', control: true, sinceMs: 1700000000000 }, { id: 4 }, { id: 5 }],
  })
  expect([may(room(4), 'files'), may(room(4), 'clipboard-in'), may(null, 'files')]).toEqual([
    true,
    false,
    false,
  ])
})

test('input reaches the session unless somebody else holds control, or the right is missing', () => {
  expect(obstacle(null)).toBeNull()
  expect(obstacle(room(3))).toBeNull()
  expect(obstacle(room(4))).toEqual({ kind: 'held', by: 3 })
  expect(obstacle(room(4, { holder: null }))).toBeNull()
  expect(obstacle(room(5, { rights: ['view'], holder: null }))).toEqual({ kind: 'watching' })
})

test('the holder answers those who may control and still look', () => {
  expect(asking(room(3, { asked: [9, 5, 4] })).map(({ id }) => id)).toEqual([4])
  expect(asking(room(4))).toEqual([])
  expect([holds(room(3)), holds(room(4)), holds(null)]).toEqual([true, false, false])
})

test('who may act may resize, if the screen can', () => {
  expect(mayResize(room(3))).toBe(true)
  expect(mayResize(room(4))).toBe(false)
  expect(mayResize(room(3, { resizable: false }))).toBe(false)
  expect(mayResize(null)).toBe(false)
})

test('who has no name has a number, and a name is one short line', () => {
  expect(nameOf(room(3), 4)).toBe('Viewer 4')
  expect(nameOf(room(3), 77)).toBe('Viewer 77')
  const name = `a\n\u202eb${'c'.repeat(500)}`
  const parsed = room(3, { viewers: [{ ...ANN, name }] })
  expect(nameOf(parsed, 3)).toMatch(/^a bc{57}$/)
})

test('any JSON is a room or none', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (body) => {
      const parsed = parseRoom(1, body)
      if (parsed) obstacle(parsed)
    }),
  )
  fc.assert(
    fc.property(
      fc.record({
        ...{ rights: fc.array(fc.jsonValue()), viewers: fc.array(fc.jsonValue()), holder: fc.jsonValue() },
        ...{ asked: fc.jsonValue(), maxWidth: fc.jsonValue(), sound: fc.jsonValue() },
      }),
      (body) => {
        const parsed = parseRoom(1, body)
        expect(parsed?.viewers.every(({ id, name }) => id > 0 && name.length <= 120)).toBe(true)
        expect(asking(parsed)).toBeInstanceOf(Array)
      },
    ),
  )
})
