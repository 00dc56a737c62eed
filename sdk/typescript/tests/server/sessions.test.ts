import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { afterAll, describe, expect, inject, it } from 'vitest'
import {
  AGB,
  AuthenticationError,
  CreateSessionParams,
  InvalidArgumentError,
  Session,
  SessionEndedError,
  SessionNotFoundError,
} from '../../src/index.js'
import { IMAGE, newAgb, sharedSession, throwingAgb } from './session.js'

const RELEASED = 'it was released by its owner'

describe('a session', () => {
  const session = sharedSession({ labels: { suite: 'sessions' } })

  it('says where it is reached', async () => {
    const { data, success, requestId } = await session().info()
    expect(success && requestId).toBeTruthy()
    expect(data).toMatchObject({
      sessionId: session().getSessionId(),
      resourceUrl: expect.stringContaining('resourceId='),
      resourceId: session().resourceId,
    })
    expect(session().linkUrl).toBe(session().getLinkUrl())
    expect(session().wsUrl).toMatch(/^ws:/)
    expect(session().getWsUrl()).toBe(session().wsUrl)
    expect(session().getToken()).toBe(session().token)
    expect(session().appInstanceId && session().resourceUrl && session().toolList).toBeTruthy()
    expect(session().imageId).toBe(IMAGE)
    expect(session().getApiKey()).toBe(inject('key'))
    expect(session().getClient()).toBe(session().getAgb().client)
  })

  it('is recovered by its id', async () => {
    const agb = newAgb()
    await session().code.run("kept = 'here'", 'python')
    const again = (await agb.get(session().getSessionId())).session
    expect(again?.token).toBe(session().token)
    expect(again?.linkUrl).toBe(session().linkUrl)
    expect((await again?.code.run('kept', 'python'))?.results[0]?.text).toBe("'here'")
    const { data, code, httpStatusCode } = await agb.getSession(session().getSessionId())
    expect([code, httpStatusCode]).toEqual(['ok', 200])
    expect(data).toMatchObject({ sessionId: session().getSessionId(), success: true, token: session().token })
  })

  it('has labels', async () => {
    expect((await session().getLabels()).data).toEqual({ suite: 'sessions' })
    expect((await session().setLabels({ suite: 'labels', n: '1' })).success).toBe(true)
    expect((await new Session(newAgb(), session().getSessionId()).getLabels()).data).toEqual({
      suite: 'labels',
      n: '1',
    })
    expect((await newAgb().list({ suite: 'labels', n: '1' })).sessionIds).toEqual([session().getSessionId()])
    expect((await newAgb().list({ suite: 'labels', n: '2' })).sessionIds).toEqual([])
  })

  it.each([
    [null, /cannot be null/],
    [['a'], /cannot be an array/],
    [{}, /at least one label/],
    [{ ' ': 'a' }, /keys cannot be empty/],
    [{ a: ' ' }, /values cannot be empty/],
  ])('refuses the labels %j', async (labels, why) => {
    const refused = await session().setLabels(labels as unknown as Record<string, string>)
    expect(refused).toMatchObject({ success: false, errorMessage: expect.stringMatching(why) })
  })

  it('tells its status and is kept alive', async () => {
    expect(await session().getStatus()).toMatchObject({
      success: true,
      status: 'RUNNING',
      httpStatusCode: 200,
    })
    expect(await session().keepAlive()).toMatchObject({ success: true })
  })

  it('tells what it uses', async () => {
    const { metrics, raw } = await session().getMetrics()
    expect(metrics?.cpuCount).toBeGreaterThan(0)
    expect(metrics?.memTotal).toBe(raw?.mem_total)
    expect(metrics?.timestamp).toBeTruthy()
  })

  it('links to a port that answers', async () => {
    const serve = 'nohup python3 -m http.server 30100 --bind 127.0.0.1 > /dev/null 2>&1 &'
    await session().command.execute(`mkdir -p /tmp/w && cd /tmp/w && echo linked > a.txt && ${serve}`)
    await session().command.execute(
      'until nc -z 127.0.0.1 30100 || curl -s 127.0.0.1:30100; do sleep 0.1; done',
      9000,
    )
    const { data: url } = await session().getLink('http', 30100)
    expect(await (await fetch(`${url}a.txt`)).text()).toBe('linked\n')
    expect((await session().getLink()).data).toBeTruthy()
    expect(await session().getLink('https', 8080)).toMatchObject({
      success: false,
      errorMessage: expect.stringMatching(/`port`/),
    })
  })

  it('has tools, each called by its name on the link and on the API', async () => {
    const { tools } = await session().listMcpTools()
    expect(tools.find(({ name }) => name === 'shell')).toMatchObject({
      description: expect.stringMatching(/./),
      inputSchema: { type: 'object' },
      server: 'wuying_shell',
    })
    expect(session().mcpTools).toEqual(tools)
    const withoutLink = new Session(newAgb(), session().getSessionId())
    for (const each of [session(), withoutLink]) {
      const { data } = await each.callMcpTool('shell', { command: 'echo called' })
      expect(JSON.parse(data ?? '')).toMatchObject({ stdout: 'called\n' })
      const unknown = await each.callMcpTool('no_such_tool', {})
      expect(unknown).toMatchObject({ success: false, errorMessage: expect.stringContaining('no_such_tool') })
      expect(await each.command.callMcpTool('shell', { command: 'true' }, 5000)).toMatchObject({
        success: true,
      })
    }
    expect(await withoutLink.listMcpTools()).toMatchObject({
      success: false,
      errorMessage: expect.stringMatching(/imageId/),
    })
    expect((await withoutLink.listMcpTools(IMAGE)).tools).toEqual(tools)
  })

  it('shows no secrets', async () => {
    const agb = session().getAgb()
    const secrets = [agb.apiKey, session().token, session().resourceUrl]
    const modules = [session().code, session().command, session().file, session().computer, session().browser]
    for (const each of [agb, agb.client, agb.context, session(), session().context, ...modules]) {
      const shown = JSON.stringify(each) + inspect(each, { depth: 9, showHidden: true })
      for (const secret of secrets) expect(shown).not.toContain(secret)
    }
  })
})

describe('sessions', () => {
  const made: Session[] = []
  afterAll(async () => {
    for (const session of made) await session.delete()
  })

  it('are listed page by page, the newest first', async () => {
    const agb = newAgb()
    const labels = { mark: `list-${Date.now()}` }
    for (let n = 0; n < 3; n += 1) {
      const params = new CreateSessionParams({ imageId: IMAGE, labels: { ...labels, n: String(n) } })
      const { session } = await agb.create(params)
      if (session) made.push(session)
    }
    const ids = made.map((session) => session.getSessionId()).reverse()
    expect(await agb.list(labels)).toMatchObject({ sessionIds: ids, totalCount: 3, maxResults: 10 })
    expect((await agb.list(labels, 1, 2)).sessionIds).toEqual(ids.slice(0, 2))
    expect(await agb.list(labels, 2, 2)).toMatchObject({ sessionIds: ids.slice(2), nextToken: '' })
    expect(await agb.list(labels, 3, 2)).toMatchObject({
      success: false,
      errorMessage: 'Cannot reach page 3: No more pages available',
      totalCount: 3,
    })
    expect(await agb.list(labels, 0)).toMatchObject({
      success: false,
      errorMessage: expect.stringMatching(/page 0/),
    })
  })

  it('are over on every route after their deletion, and say why', async () => {
    const agb = newAgb()
    const session = made.pop() as Session
    expect(await agb.delete(session)).toMatchObject({ success: true, requestId: expect.stringMatching(/./) })
    const id = session.getSessionId()
    const failures = [
      agb.get(id),
      agb.getSession(id),
      session.info(),
      session.getStatus(),
      session.getLabels(),
      session.keepAlive(),
      session.getLink(),
      session.getMetrics(),
      session.command.execute('true'),
      session.code.run('1', 'python'),
      session.code.run('1', 'python', 60, { streamBeta: true }),
      session.file.writeFile('/tmp/x', 'x'),
      session.file.readFile('/tmp/x'),
      session.file.upload(fileURLToPath(import.meta.url), '/tmp/x'),
      session.computer.screen.getSize(),
      new Session(agb, id).command.execute('true'),
    ]
    for (const failure of await Promise.all(failures)) {
      expect(failure).toMatchObject({ success: false, errorMessage: expect.stringContaining(RELEASED) })
    }
    expect((await agb.get(id)).session).toBeNull()
    expect(await session.delete()).toMatchObject({ success: true })
  })

  it('are refused with the reason', async () => {
    const agb = newAgb()
    for (const [params, why] of [
      [undefined, /params is required/],
      [{ imageId: ' ' }, /`imageId`/],
      [{ imageId: 'no-image' }, /available: agb-code-space-1/],
      [{ imageId: IMAGE, idleReleaseTimeout: -1 }, /`timeout`/],
    ] as const) {
      expect(await agb.create(params)).toMatchObject({
        success: false,
        session: null,
        errorMessage: expect.stringMatching(why),
      })
    }
    const stranger = new AGB({ apiKey: 'bk_wrong', config: { endpoint: inject('endpoint') } })
    expect(await stranger.create({ imageId: IMAGE })).toMatchObject({
      success: false,
      errorMessage: expect.stringMatching(/API key/),
    })
    expect(await agb.get('s-none')).toMatchObject({
      success: false,
      errorMessage: expect.stringMatching(/^Failed to get session s-none: /),
    })
    expect(await agb.get(' ')).toMatchObject({ success: false })
  })

  it('throw one family of errors where that is wanted', async () => {
    const agb = throwingAgb()
    await expect(agb.create({ imageId: 'no-image' })).rejects.toThrow(InvalidArgumentError)
    await expect(agb.get('s-none')).rejects.toThrow(SessionNotFoundError)
    const stranger = new AGB({
      apiKey: 'bk_wrong',
      config: { endpoint: inject('endpoint') },
      throwOnError: true,
    })
    await expect(stranger.list()).rejects.toThrow(AuthenticationError)
    const { session } = await agb.create({ imageId: IMAGE })
    expect((await session.info()).success).toBe(true)
    await session.delete()
    for (const call of [() => session.info(), () => session.command.execute('true')]) {
      const error = await call().catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(SessionEndedError)
      expect(error).toMatchObject({ reason: 'released', sessionId: session.getSessionId() })
    }
    const streamed = session.code.stream('1', 'python').next()
    await expect(streamed).rejects.toMatchObject({ name: 'SessionEndedError', reason: 'released' })
  })
})
