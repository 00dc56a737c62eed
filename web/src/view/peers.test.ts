import { expect, test } from 'vitest'
import { PEER_FADE_MS, PEER_TYPES_MS, Peers } from './peers.ts'
import type { PeerPointer } from './share.ts'

const agent: PeerPointer = { agent: true, viewer: 0, x: 1, y: 2, action: 'moved' }
const ann: PeerPointer = { agent: false, viewer: 3, x: 5, y: 6, action: 'moved' }

test('a pointer is where it was last, and fades when nothing more is heard', () => {
  const peers = new Peers()
  peers.take(agent, 0)
  peers.take(ann, 1000)
  peers.take({ ...ann, x: 9 }, 2000)
  expect(peers.at(2000)).toMatchObject([
    { agent: true, x: 1, y: 2 },
    { agent: false, viewer: 3, x: 9 },
  ])
  expect(peers.at(PEER_FADE_MS).map(({ key }) => key)).toEqual(['viewer-3'])
  expect(peers.at(2000 + PEER_FADE_MS)).toEqual([])
})

test('presses are counted, a held button stays held while it moves, typing shows for a moment', () => {
  const peers = new Peers()
  peers.take({ ...ann, action: 'down' }, 0)
  peers.take(ann, 1)
  expect(peers.at(1)).toMatchObject([{ pressed: true, presses: 1, types: false }])
  peers.take({ ...ann, action: 'up' }, 2)
  peers.take({ ...ann, action: 'types' }, 3)
  expect(peers.at(3)).toMatchObject([{ pressed: false, presses: 1, types: true }])
  expect(peers.at(3 + PEER_TYPES_MS)).toMatchObject([{ types: false }])
})

test('a session that invents people draws a few of them', () => {
  const peers = new Peers()
  for (let viewer = 1; viewer <= 10_000; viewer++) peers.take({ ...ann, viewer }, 0)
  expect(peers.at(0).length).toBeLessThan(40)
})
