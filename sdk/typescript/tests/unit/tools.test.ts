import { describe, expect, it, vi } from 'vitest'
import { readRun } from '../../src/code-result.js'
import { readDirectory, readInfo, readSeveral, slices } from '../../src/file-text.js'
import { Session } from '../../src/index.js'
import { Stub } from './stub.js'

const stub = new Stub()

function session(): Session {
  const toolList = [
    { Name: 'shell', serverName: 'one' },
    { name: 'read_file', server: 'two' },
  ]
  return new Session(stub.agb(), 's-1')._reachedBy({
    linkUrl: `${stub.endpoint}/link/s-1/`,
    token: 't-1',
    toolList,
  })
}

describe('a tool call', () => {
  it('goes over the link where the session has one, else over the API', async () => {
    stub.replies(({ path }) => {
      const result = { content: [{ type: 'text', text: path }] }
      return path === '/mcp' ? result : { result }
    })
    expect((await session().callMcpTool('shell', { a: 'ü' })).data).toBe('/link/s-1/callTool')
    expect((await session().callMcpTool('other', { a: 'ü' })).data).toBe('/mcp')
    const [link, api] = stub.seen
    expect(link?.headers).toMatchObject({ 'x-access-token': 't-1' })
    expect(link?.headers.authorization).toBeUndefined()
    expect(JSON.parse(link?.body ?? '')).toMatchObject({
      args: { a: 'ü' },
      server: 'one',
      tool: 'shell',
      token: 't-1',
      requestId: expect.stringMatching(/^link-\d+-\d{9}$/),
    })
    expect(api).toMatchObject({ query: { autoGenSession: 'false' } })
    expect(JSON.parse(api?.body ?? '')).toEqual({ sessionId: 's-1', name: 'other', args: '{"a":"ü"}' })
  })

  it('waits for longer than its tool may take, by its arguments', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      for (const [tool, args, waitedMs] of [
        ['shell', { command: 'make', timeout_ms: 300_000 }, 330_000],
        ['run_code', { code: '1', timeout_s: 120 }, 150_000],
        ['shell', { command: 'true', timeout_ms: 1 }, 60_000],
        ['shell', { command: 'true' }, 60_000],
      ] as const) {
        const asked = new Promise<void>((resolve) => stub.replies(() => resolve()))
        const called = session().callMcpTool(tool, args)
        await asked
        await vi.advanceTimersByTimeAsync(waitedMs)
        expect(await called).toMatchObject({
          errorMessage: expect.stringContaining(`took longer than ${waitedMs} ms`),
        })
      }
    } finally {
      vi.useRealTimers()
    }
  })

  it.each([
    [{ content: [{ text: 'a' }, { text: 'b' }] }, true, 'a\nb'],
    [{ content: [{ type: 'image', data: 'QUJD' }] }, true, 'QUJD'],
    [{ content: [] }, true, ''],
    [{ isError: true, content: [{ text: 'boom' }] }, false, 'boom'],
    [{ isError: true, content: [] }, false, '`x` failed and did not say why'],
    [null, true, ''],
  ])('reads %j', async (data, success, said) => {
    stub.replies(() => data)
    const { data: text, errorMessage, ...result } = await session().callMcpTool('x', {})
    expect([result.success, text ?? errorMessage]).toEqual([success, said])
    expect(result.requestId).toBe('R-1')
  })

  it.each([
    [{ result: { content: ['a', { text: 'b' }] } }, true, 'a'],
    ['{"result":{"content":[{"blob":"b"}]}}', true, 'b'],
    [{ result: { isError: true, content: [{ text: 'boom' }] } }, false, 'boom'],
    [{}, false, 'the link answered without a result of the tool'],
    ['not json', false, 'the link answered without a result of the tool'],
  ])('reads %j of the link', async (data, success, said) => {
    stub.replies(() => data)
    const { data: text, errorMessage, ...result } = await session().callMcpTool('shell', {})
    expect([result.success, text ?? errorMessage]).toEqual([success, said])
    expect(result.requestId).toMatch(/^link-/)
  })

  it.each([
    ['{"stdout":"o","stderr":"","exit_code":0}', false, { success: true, output: 'o', exitCode: 0 }],
    ['{"stdout":"o","stderr":"e","exit_code":2}', false, { success: false, exitCode: 2, errorMessage: 'e' }],
    [
      '{"stdout":"","stderr":"","errorCode":5,"traceId":"t"}',
      true,
      { success: false, exitCode: 5, traceId: 't' },
    ],
    ['old form', false, { success: true, output: 'old form' }],
    ['broken', true, { success: false, exitCode: -1, errorMessage: 'broken' }],
  ])('reads the command %j', async (text, isError, wanted) => {
    stub.replies(() => ({ result: { isError, content: [{ text }] } }))
    expect(await session().command.execute('c')).toMatchObject(wanted)
  })
})

describe('a run', () => {
  const flat = (members: object) => JSON.stringify({ result: [], stdout: [], stderr: [], ...members })

  it.each([
    ['', { success: false, errorMessage: 'No data returned' }],
    [
      'plain',
      { success: true, results: [{ text: 'plain', isMainResult: true }], logs: { stdout: ['plain'] } },
    ],
    ['7', { success: true, results: [{ text: '7', isMainResult: true }] }],
    [
      flat({ execution_count: 3, execution_time: 0.5 }),
      { success: true, executionCount: 3, executionTime: 0.5 },
    ],
    [
      flat({ executionError: 'E: x', stdout: ['a'] }),
      {
        success: false,
        errorMessage: 'E: x',
        error: { name: 'ExecutionError', value: 'E: x', traceback: '' },
      },
    ],
    [
      flat({
        result: [
          { 'text/plain': '1', isMainResult: true },
          '{"html":"<b>"}',
          '"{\\"png\\":\\"x\\"}"',
          'text',
          5,
        ],
      }),
      {
        results: [
          { text: '1', isMainResult: true },
          { html: '<b>', isMainResult: false },
          { png: 'x', isMainResult: false },
          { text: 'text', isMainResult: false },
          { text: '5', isMainResult: false },
        ],
      },
    ],
    [
      JSON.stringify({ content: [{ text: flat({ stdout: ['in'] }) }] }),
      { success: true, logs: { stdout: ['in'] } },
    ],
    [
      JSON.stringify({ isError: true, content: [{ text: 'a' }, {}] }),
      { success: false, errorMessage: 'Error in response: a; Unknown error' },
    ],
    [
      JSON.stringify({
        results: [{ text: 't', is_main_result: true }],
        logs: { stdout: ['o'], stderr: 'e' },
      }),
      { success: true, results: [{ text: 't', isMainResult: true }], logs: { stdout: ['o'], stderr: ['e'] } },
    ],
    [
      JSON.stringify({ logs: {}, error: { name: 'N', value: 'v', traceback: 'tb' } }),
      { success: false, errorMessage: 'v', error: { name: 'N', value: 'v', traceback: 'tb' } },
    ],
    [JSON.stringify({ content: [{ text: 'legacy' }] }), { success: true, logs: { stdout: ['legacy'] } }],
    [JSON.stringify({ content: [] }), { success: false, errorMessage: 'No content found in response' }],
    [JSON.stringify({ other: 1 }), { success: true, results: [{ text: '{"other":1}', isMainResult: true }] }],
  ])('is read from %s', (text, wanted) => {
    expect(readRun(text, 'r-1')).toMatchObject({ ...wanted, requestId: 'r-1' })
  })
})

describe('texts of files', () => {
  it('are read', () => {
    expect(readInfo('name: a: b\nsize: x\nmodTime: 2026-01-02T03:04:05Z\njunk')).toEqual({
      ...{ name: 'a: b', path: '', size: 0, isDirectory: false, modTime: '2026-01-02T03:04:05Z', mode: '' },
    })
    expect(readDirectory('[DIR] a b\nother\n[FILE] [DIR] c\n[FILE] ')).toEqual([
      { type: 'directory', name: 'a b' },
      { type: 'file', name: '[DIR] c' },
    ])
    expect(readSeveral('/a:\none\n\ntwo: x\n---\n/b: same line\n---\n/c:')).toEqual({
      '/a': 'one\n\ntwo: x',
      '/b': 'same line',
      '/c': '',
    })
  })

  it('are cut between characters', () => {
    const text = `a${'🙂'.repeat(10)}`
    for (const length of [2, 3, 4, 100]) {
      const pieces = [...slices(text, length)]
      expect(pieces.join('')).toBe(text)
      for (const piece of pieces) expect(Buffer.from(piece).toString()).toBe(piece)
    }
    expect([...slices('', 5)]).toEqual([''])
  })
})
