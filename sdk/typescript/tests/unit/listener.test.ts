/** Listeners that throw. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type FileChangeEvent, Session } from '../../src/index.js'
import { Stub } from './stub.js'

const stub = new Stub()
const session = () =>
  new Session(stub.agb(), 's-1')._reachedBy({ linkUrl: `${stub.endpoint}/link/s-1`, token: 't-1' })

let folder = ''
let said: string[] = []
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-sdk-listener-'))
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0)
})
afterAll(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true })
})

/** How listeners throw: at once, and later. */
const FAULTS = [
  () => {
    throw new Error('my own fault')
  },
  () => Promise.reject(new Error('my own fault')),
]

describe.each(FAULTS)('a listener that throws', (fault) => {
  const warned = () => vi.waitFor(() => expect(said.join('')).toContain('a listener threw: my own fault'))

  it('of a transfer', async () => {
    said = []
    stub.replies(() => ({}))
    const [from, to] = [join(folder, 'from'), join(folder, 'to')]
    await writeFile(from, 'text')
    const { file } = session()
    expect(await file.upload(from, '/a', { progressCallback: fault })).toMatchObject({ success: true })
    expect(stub.seen[0]?.body).toBe('text')
    expect(await file.download('/a', to, { progressCallback: fault })).toMatchObject({ success: true })
    expect(await readFile(to, 'utf8')).toContain('"success":true')
    await warned()
  })

  it('of a sync', async () => {
    said = []
    stub.replies(() => ({}))
    await session().context.sync('', '', '', 1, 1, fault)
    await warned()
  })

  it('of a watch, which goes on', async () => {
    said = []
    stub.replies(() => ({ content: [{ text: '[{"eventType":"create","path":"/d/a","pathType":"file"}]' }] }))
    const heard = await new Promise<FileChangeEvent[]>((resolve) => {
      let times = 0
      const { stop } = session().file.watchDir(
        '/d',
        (events) => {
          times += 1
          if (times === 1) return fault()
          stop()
          return resolve(events)
        },
        1,
      )
    })
    expect(heard).toMatchObject([{ path: '/d/a' }])
    await warned()
  })
})
