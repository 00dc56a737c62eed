import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FILES_MAX, messageOf, parseFiles, sizeInWords } from './files.ts'

const FILE = { name: 'a.txt', folder: 'shared', path: '/shared/a.txt', size: 5, modified: 1700000000000 }

test('a list names its files', () => {
  expect(parseFiles({ files: [FILE] })).toEqual([
    { name: 'a.txt', folder: 'shared', path: '/shared/a.txt', bytes: 5, modifiedMs: 1700000000000 },
  ])
  expect(parseFiles({ files: [{ name: 'a', path: 'b' }, { name: 'a' }, 7] })).toHaveLength(1)
  expect(parseFiles({ files: Array(FILES_MAX * 2).fill(FILE) })).toHaveLength(FILES_MAX)
  expect(parseFiles('an error page')).toBeNull()
})

test('any JSON is a list or none', () => {
  fc.assert(fc.property(fc.jsonValue(), (body) => (parseFiles(body)?.length ?? 0) <= FILES_MAX))
  fc.assert(fc.property(fc.array(fc.jsonValue()), (files) => parseFiles({ files }) !== null))
})

test('an error is told in the words of the server, if it has any', () => {
  expect(messageOf('{"message":"too large"}', 'failed')).toBe('too large')
  expect(messageOf('<html>', 'failed')).toBe('failed')
  expect(messageOf('{"message":7}', 'failed')).toBe('failed')
})

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 KB'],
  [9949, '9.9 KB'],
  [9960, '10 KB'],
  [999_600, '1.0 MB'],
  [5e12, '5.0 TB'],
])('%i bytes are %s', (bytes, words) => {
  expect(sizeInWords(bytes)).toBe(words)
})
