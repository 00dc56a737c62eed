/** Limits of calls that need many requests. Time is the test's: it passes at the server, and in pauses. */

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ContextSync, ExtensionsService, Session, TimeoutError } from '../../src/index.js'
import { passing } from './passing.js'
import { Peer } from './peer.js'
import { refuse, Stub } from './stub.js'

beforeAll(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterAll(() => void vi.useRealTimers())

const stub = new Stub()
const session = () => new Session(stub.agb(), 's-1')
const STEP_MS = 50
const [REQUEST_MS, WHOLE_MS] = [40_000, 100_000]

/** An answer of a server that is never done, whatever it is asked. */
function endless(path: string, tool: string | undefined): unknown {
  const items = JSON.stringify([{ contextId: 'c-1', path: '/d', taskType: 'download', status: 'Running' }])
  if (path === '/mcp/createSession') return { sessionId: 's-1' }
  if (path === '/mcp/getSessionInfo') return { status: 'RUNNING' }
  if (path === '/sdk/ListSession') return { whole: { data: [], nextToken: 'T' } }
  if (path === '/sdk/GetContext') return { id: 'c-1', state: 'clearing' }
  if (path === '/sdk/GetContextInfo')
    return { contextStatus: JSON.stringify([{ type: 'data', data: items }]) }
  if (tool === 'read_file') return { content: [{ text: 'x'.repeat(8 << 20) }] }
  if (tool === 'page_use_act_async') return { content: [{ text: '{"task_id":"t"}' }] }
  if (tool === 'page_use_get_act_result') return { content: [{ text: '{"is_done":false}' }] }
  return path === '/browser/init' ? { port: 1 } : { content: [{ text: 'true' }] }
}

function serveEndlessly(): void {
  stub.replies(({ path, body }) => {
    vi.advanceTimersByTime(REQUEST_MS)
    return endless(path, path === '/mcp' ? JSON.parse(body).name : undefined)
  })
}

type Call = (options: { timeoutMs: number }) => Promise<unknown>

describe('the time of a call', () => {
  const contextSync = [new ContextSync('c-1', '/d')]
  const late = { success: false, errorMessage: expect.stringContaining(`took longer than ${WHOLE_MS} ms`) }

  it.each<[string, Call, object?]>([
    ['list', (o) => stub.agb().list({}, 50, 10, o)],
    ['create', (o) => stub.agb().create({ imageId: 'i', contextSync }, o)],
    ['clear', (o) => stub.agb().context.clear('c-1', 600, 2, o)],
    ['sync', (o) => session().context.sync('', '', '', 150, 1500, undefined, o)],
    ['writeFile', (o) => session().file.writeFile('/a', 'x'.repeat(5 << 20), 'overwrite', o)],
    ['readFile', (o) => session().file.readFile('/a', o)],
    [
      'delete',
      (o) => session().delete(false, o),
      { success: false, errorMessage: 'Timeout waiting for session deletion after 100s' },
    ],
    ['delete with a sync', (o) => session().delete(true, o)],
  ])('is that of all its requests: %s', async (_name, call, wanted = late) => {
    serveEndlessly()
    const begun = performance.now()
    expect(await passing(call({ timeoutMs: WHOLE_MS }), STEP_MS)).toMatchObject(wanted)
    // No request begins after the end.
    expect(performance.now() - begun).toBeLessThan(WHOLE_MS + REQUEST_MS)
  })

  it('is that of all its requests: a task of an agent', async () => {
    serveEndlessly()
    const { browser } = session()
    await passing(browser.initialize({}), STEP_MS)
    const begun = performance.now()
    const acted = browser.agent.actAsync({ action: 'a' }, 0, undefined, { timeoutMs: WHOLE_MS })
    const error = await passing(acted, STEP_MS).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(TimeoutError)
    expect(error).toMatchObject({ message: 'Act timed out: task t', timeoutMs: WHOLE_MS })
    expect(performance.now() - begun).toBeLessThan(WHOLE_MS + REQUEST_MS)
  })

  it('is kept by what waits for the context of extensions, as is the signal', async () => {
    stub.replies(() => undefined)
    const extensions = new ExtensionsService(stub.agb())
    const what = 'finding the context of the extensions took longer than 1000 ms'
    await expect(passing(extensions.list({ timeoutMs: 1000 }), STEP_MS)).rejects.toThrow(what)
    const [stop, reason] = [new AbortController(), new Error('enough')]
    const listed = extensions.list({ signal: stop.signal })
    stop.abort(reason)
    await expect(listed).rejects.toBe(reason)
  })
})

describe('a session whose contexts are waited for', () => {
  const params = { imageId: 'i', contextSync: [new ContextSync('c-1', '/d')] }

  it('is there also when nobody knows of them', async () => {
    stub.replies(({ path }, response) => {
      if (path === '/mcp/createSession') return { sessionId: 's-1' }
      return refuse(response, 500, 'InternalError', 'why')
    })
    const created = await stub.agb().create(params, { timeoutMs: 1000 })
    expect(created).toMatchObject({ success: true, session: { imageId: 'i' } })
  })

  it('is released when its call ends before', async () => {
    const released = (): Promise<void> =>
      new Promise((resolve) => {
        stub.replies(({ path, body }) => {
          if (path === '/mcp/createSession') return { sessionId: 's-1' }
          if (path === '/sdk/GetContextInfo') return stop.abort(reason)
          if (path === '/mcp/releaseSessionAsync' && JSON.parse(body).sessionId === 's-1') resolve()
          return {}
        })
      })
    const [stop, reason] = [new AbortController(), new Error('enough')]
    const heard = released()
    await expect(stub.agb().create(params, { signal: stop.signal })).rejects.toBe(reason)
    await heard
  })
})

describe('a deletion', () => {
  it('looks until it is over, whatever a look says', async () => {
    let looks = 0
    stub.replies(({ path }, response, request) => {
      if (path !== '/mcp/getSessionInfo') return {}
      looks += 1
      if (looks === 1) return refuse(response, 500, 'InternalError', 'why')
      // As often as a request is sent again.
      if (looks <= 5) return void request.socket.destroy()
      return looks === 6 ? { status: 'RUNNING' } : refuse(response, 404, 'Other', 'Session Not Found')
    })
    expect(await passing(session().delete(), STEP_MS)).toMatchObject({ success: true })
    expect(looks).toBe(7)
  })

  it('gives up without a key, and ends what was heard of the session', async () => {
    const there = session()._reachedBy({ wsUrl: stub.endpoint.replace('http', 'ws'), token: 't-1' })
    const opened = new Promise<Peer>((resolve) => {
      stub.upgrades((request, connection) => resolve(new Peer(request, connection)))
    })
    const run = there.code.run('1', 'python', 60, { streamBeta: true })
    await (await opened).hear()
    stub.replies(({ path }, response) =>
      path === '/mcp/getSessionInfo' ? refuse(response, 401, 'InvalidApiKey', 'revoked') : {},
    )
    expect(await there.delete()).toMatchObject({ success: false, errorMessage: 'revoked' })
    expect(await run).toMatchObject({ success: false, errorMessage: 'the stream was closed' })
  })
})
