import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import {
  AGB,
  type AGBError,
  APIError,
  AuthenticationError,
  Client,
  ConnectionError,
  HTTPClient,
  InvalidArgumentError,
  NoCapacityError,
  RateLimitError,
  Session,
  TimeoutError,
} from '../../src/index.js'
import { refuse, Stub } from './stub.js'

const stub = new Stub()
const client = () => new Client({ endpoint: stub.endpoint, timeoutMs: 5000 }, { apiKey: 'key-1' })
const broken = (call: Promise<unknown>): Promise<AGBError> =>
  call.then(
    () => Promise.reject('done'),
    (e) => e,
  )

/** Breaks the connection of the first `times` requests without an answer. */
function breakFirst(times: number): void {
  let left = times
  stub.replies((_seen, _response, request) => {
    left -= 1
    if (left >= 0) request.socket.destroy()
    return left >= 0 ? undefined : { status: 'RUNNING' }
  })
}

describe('requests', () => {
  it('carry the key, and their parameters where the protocol wants them', async () => {
    stub.replies(() => ({}))
    const api = client()
    await api.setLabel({ sessionId: 's 1', Labels: '{"a":"ü+ b"}' })
    await api.getMcpSession({ sessionId: 's-1' })
    await api.listSessions({ maxResults: 5, nextToken: undefined, labels: '{}' })
    expect(stub.seen).toMatchObject([
      {
        method: 'POST',
        path: '/sdk/SetLabel',
        query: { sessionId: 's 1', Labels: '{"a":"ü+ b"}' },
        body: '{}',
      },
      { method: 'POST', path: '/mcp/getSession', query: {}, body: '{"sessionId":"s-1"}' },
      { method: 'GET', path: '/sdk/ListSession', query: { maxResults: '5', labels: '{}' }, body: '' },
    ])
    for (const { headers } of stub.seen) expect(headers.authorization).toBe('Bearer key-1')
    await api.close()
  })

  it('share kept connections', async () => {
    stub.replies(() => ({}))
    const api = client()
    for (let n = 0; n < 20; n += 1) await api.getMcpSession({ sessionId: 's-1' })
    expect(stub.connections).toBeLessThanOrEqual(2)
    await api.close()
  })

  it('are sent by hand, too', async () => {
    stub.replies(() => ({ a: 1 }))
    HTTPClient.setDefaultConfig({ endpoint: `${stub.endpoint}/base/`, timeoutMs: 1000 })
    const http = new HTTPClient()
    const answer = await http.makeRequest({ method: 'GET', endpoint: '/x', params: { n: 1, no: undefined } })
    expect(answer).toMatchObject({ statusCode: 200, json: { data: { a: 1 } } })
    expect(stub.seen[0]).toMatchObject({ path: '/base/x', query: { n: '1' } })
    expect(stub.seen[0]?.headers.authorization).toBeUndefined()
    expect(HTTPClient.getDefaultConfig().timeoutMs).toBe(1000)
    await http.close()
  })

  it('become errors by their code, in the words of the server', async () => {
    for (const [status, code, Class] of [
      [401, 'InvalidApiKey', AuthenticationError],
      [400, 'InvalidParameter', InvalidArgumentError],
      [400, 'InvalidImage.NotFound', InvalidArgumentError],
      [429, 'QuotaExceeded.Sessions', RateLimitError],
      [503, 'NoCapacity', NoCapacityError],
      [504, 'SessionTimeout', TimeoutError],
      [500, 'InternalError', APIError],
      [409, 'SessionPaused', APIError],
    ] as const) {
      stub.replies((_seen, response) => refuse(response, status, code, 'why'))
      const error = await broken(client().getMcpSession({ sessionId: 's-1' }))
      expect(error).toBeInstanceOf(Class)
      expect(error).toMatchObject({ message: 'why', code, requestId: 'R-2', extra: { statusCode: status } })
    }
  })

  it('are understood also when the answer is not what was agreed', async () => {
    for (const [status, body, said] of [
      [502, '<h1>Bad gateway</h1>', '<h1>Bad gateway</h1>'],
      [500, '', 'HTTP status 500 and no reason'],
      [200, '[]', '[]'],
      [200, '{"success":false}', 'HTTP status 200 and no reason'],
      [201, '{"success":true,"data":{}}', 'HTTP status 201'],
    ] as const) {
      stub.replies((_seen, response) => {
        response.statusCode = status
        response.setHeader('x-request-id', 'H-1')
        response.end(body)
      })
      const error = await broken(client().getMcpSession({ sessionId: 's-1' }))
      expect(error.message).toContain(said)
      expect(error.requestId).toBe('H-1')
    }
  })
})

describe('a connection that breaks', () => {
  it('is made anew for what may be done twice', async () => {
    breakFirst(2)
    expect((await client().getSessionDetail({ sessionId: 's-1' })).data).toEqual({ status: 'RUNNING' })
    expect(stub.seen).toHaveLength(3)
    breakFirst(9)
    const error = await broken(client().listSessions({}))
    expect(error).toBeInstanceOf(ConnectionError)
    expect(stub.seen).toHaveLength(4)
  })

  it('never repeats a tool call or a creation', async () => {
    const session = new Session(stub.agb(), 's-1')
    const linked = new Session(stub.agb(), 's-1')
    Object.assign(linked, {
      linkUrl: `${stub.endpoint}/link`,
      token: 't',
      toolList: '[{"name":"shell","server":"s"}]',
    })
    for (const call of [
      () => session.command.execute('true'),
      () => linked.command.execute('true'),
      () => stub.agb().create({ imageId: 'i' }),
    ]) {
      breakFirst(1)
      expect(await call()).toMatchObject({
        success: false,
        errorMessage: expect.stringContaining('what was asked for may have been done'),
      })
      expect(stub.seen).toHaveLength(1)
    }
  })

  it('is not repeated once an answer began', async () => {
    stub.replies((_seen, response, request) => {
      response.writeHead(200, { 'content-length': '100' }).write('{')
      setImmediate(() => request.socket.destroy())
    })
    expect(await broken(client().listSessions({}))).toMatchObject({ mayHaveHappened: true })
    expect(stub.seen).toHaveLength(1)
  })

  it('is made for anything once the server is there', async () => {
    const probe = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => probe.once('listening', resolve))
    const { port } = probe.address() as { port: number }
    await new Promise((resolve) => probe.close(resolve))
    const agb = new AGB({ apiKey: 'k', config: { endpoint: `http://127.0.0.1:${port}` }, throwOnError: true })
    const error = await broken(agb.create({ imageId: 'i' }))
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error).toMatchObject({
      mayHaveHappened: false,
      message: expect.stringContaining('could not reach'),
    })

    const called = new Session(agb, 's-1').callMcpTool('shell', {})
    const late = createServer((socket) => {
      const body = '{"success":true,"data":{"content":[{"type":"text","text":"at last"}]}}'
      socket.once('data', () =>
        socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`),
      )
    }).listen(port, '127.0.0.1')
    expect(await called).toMatchObject({ success: true, data: 'at last' })
    late.close()
  })
})

describe('limits', () => {
  it('are kept: the timeout of the client, of a call, of a tool', async () => {
    stub.replies(() => undefined)
    const agb = new AGB({ apiKey: 'k', config: { endpoint: stub.endpoint, timeoutMs: 50 } })
    const late = (ms: number) => expect.stringContaining(`took longer than ${ms} ms`)
    expect(await agb.list()).toMatchObject({ success: false, errorMessage: late(50) })
    expect(await agb.list({}, 1, 10, { timeoutMs: 20 })).toMatchObject({ errorMessage: late(20) })
    const session = new Session(agb, 's-1')
    expect(await session.callMcpTool('x', {}, 30)).toMatchObject({ errorMessage: late(30) })
    expect(await session.getMetrics(30)).toMatchObject({ errorMessage: late(30) })
    expect(await session.info({ timeoutMs: 0 })).toMatchObject({
      errorMessage: expect.stringContaining('`timeoutMs`'),
    })
    // A body that does not end counts, too.
    stub.replies((_seen, response) => void response.writeHead(200).write('{'))
    expect(await agb.list()).toMatchObject({ success: false, errorMessage: late(50) })
  })

  it('end with the signal, for its reason, whether results or errors are wanted', async () => {
    stub.replies(() => undefined)
    for (const throwOnError of [false, true]) {
      const agb = new AGB({ apiKey: 'k', config: { endpoint: stub.endpoint }, throwOnError })
      const session = new Session(agb, 's-1')
      const { signal } = new AbortController()
      for (const call of [
        (o: { signal: AbortSignal }) => agb.create({ imageId: 'i' }, o),
        (o: { signal: AbortSignal }) => agb.get('s-1', o),
        (o: { signal: AbortSignal }) => session.delete(true, o),
        (o: { signal: AbortSignal }) => session.code.run('1', 'python', 60, o),
        (o: { signal: AbortSignal }) => session.file.readFile('/a', o),
        (o: { signal: AbortSignal }) => session.computer.screen.getSize(o),
        (o: { signal: AbortSignal }) => session.browser.initialize({}, o),
        (o: { signal: AbortSignal }) => session.browser.getEndpointUrl(o),
        (o: { signal: AbortSignal }) => agb.context.create('a', o),
        (o: { signal: AbortSignal }) => session.context.info(undefined, undefined, undefined, o),
      ]) {
        const stop = new AbortController()
        const reason = new Error('enough')
        const called = call({ signal: stop.signal })
        stop.abort(reason)
        await expect(called).rejects.toBe(reason)
        await expect(call({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
      }
      expect(signal.aborted).toBe(false)
    }
  })
})
