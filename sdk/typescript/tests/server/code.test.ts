import { describe, expect, it } from 'vitest'
import { CodeError, type CodeEvent, CommandError, Session } from '../../src/index.js'
import { newAgb, sharedSession, throwingAgb } from './session.js'

const session = sharedSession()

describe('code', () => {
  it('returns text, output, tables and figures', async () => {
    const run = await session().code.run("print('hello')\n6 * 7", 'python')
    expect(run).toMatchObject({
      success: true,
      logs: { stdout: ['hello\n'], stderr: [] },
      results: [{ text: '42', isMainResult: true }],
      errorMessage: '',
    })
    expect(run.executionTime).toBeGreaterThan(0)
    expect(run.executionCount).toBeGreaterThan(0)
    const table = await session().code.run("import pandas as pd\npd.DataFrame({'a': [1, 2]})", 'py')
    expect(table.results[0]?.html).toContain('<table')
    const plot = await session().code.run('import matplotlib.pyplot as plt\nplt.plot([1, 2]);', 'python')
    const [png] = plot.results.flatMap((result) => result.png ?? [])
    expect(
      Buffer.from(png ?? '', 'base64')
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG')
    expect(plot.results.find((result) => result.png)?.chart).toBeTypeOf('object')
  })

  it('keeps variables, in every language', async () => {
    for (const [language, first, second, wanted] of [
      ['python', 'x = 20', 'x + 1', '21'],
      ['JS', 'var x = 30', 'x + 1', '31'],
      ['ts', 'var y: number = 40', 'y + 1', '41'],
      ['bash', 'z=50', 'echo $((z + 1))', '51'],
    ] as const) {
      expect((await session().code.run(first, language)).errorMessage).toBe('')
      const { results, logs } = await session().code.run(second, language)
      expect(results[0]?.text ?? logs.stdout.join('').trim(), language).toBe(wanted)
    }
  })

  it('tells exceptions, and refuses what it does not know', async () => {
    const failed = await session().code.run("print('before')\n1/0", 'python')
    expect(failed).toMatchObject({
      success: false,
      logs: { stdout: ['before\n'] },
      error: { name: 'ExecutionError' },
    })
    expect(failed.errorMessage).toContain('division by zero')
    const unknown = await session().code.run('x', 'cobol')
    expect(unknown).toMatchObject({ success: false, errorMessage: expect.stringContaining('`cobol`') })
    expect((await session().code.run('', 'python')).errorMessage).toContain('`code`')
    expect((await session().code.run('while True: pass', 'python', 1)).errorMessage).toContain('timed out')
  })

  it('is heard while it runs', async () => {
    const heard: string[] = []
    const errors: unknown[] = []
    // The code goes on only after its first output was heard.
    const code =
      "import os, time\nprint('one', flush=True)\nwhile not os.path.exists('/tmp/go'): time.sleep(0.02)\nprint('two')\n7"
    const run = await session().code.run(code, 'python', 30, {
      streamBeta: true,
      onStdout: (chunk) => {
        heard.push(chunk)
        if (chunk.includes('one')) void session().file.writeFile('/tmp/go', '')
      },
      onError: (error) => errors.push(error),
    })
    expect(run).toMatchObject({ success: true, results: [{ text: '7', isMainResult: true }] })
    expect(heard.join('')).toBe('one\ntwo\n')
    expect(run.logs.stdout).toEqual(heard)
    expect(errors).toEqual([])
  })

  it('tells exceptions of a stream', async () => {
    const said: string[] = []
    const errors: unknown[] = []
    const run = await session().code.run("import sys\nprint('e', file=sys.stderr)\nnowhere", 'python', 30, {
      streamBeta: true,
      onStderr: (chunk) => said.push(chunk),
      onError: (error) => errors.push(error),
    })
    expect(run).toMatchObject({ success: false, error: { name: 'NameError' } })
    expect(run.errorMessage).toContain("name 'nowhere' is not defined")
    expect(said.join('')).toContain('e\n')
    expect(errors).toMatchObject([{ name: 'NameError' }])
  })

  it('is a stream of typed events that ends with the result', async () => {
    const events: CodeEvent[] = []
    for await (const event of session().code.stream("print('a')\ndisplay(1)\n1/0", 'python'))
      events.push(event)
    const types = events.map(({ type }) => type).filter((type) => type !== 'stderr')
    expect(types).toEqual(['stdout', 'result', 'error', 'end'])
    const last = events.at(-1)
    expect(last?.type === 'end' && last.result).toMatchObject({
      success: false,
      error: { name: 'ZeroDivisionError' },
    })
    await expect(session().code.stream('x', 'cobol').next()).resolves.toMatchObject({
      value: { type: 'error', error: { value: expect.stringContaining('cobol') } },
    })
  })

  it('is interrupted when its stream is left or aborted, and keeps its variables', async () => {
    const endless = "kept = 5\nimport time\nprint('on', flush=True)\nwhile True: time.sleep(0.05)"
    for await (const event of session().code.stream(endless, 'python', { timeoutS: 600 })) {
      if (event.type === 'stdout') break
    }
    // It would wait for 600 s if the code went on.
    expect((await session().code.run('kept', 'python')).results[0]?.text).toBe('5')

    const reason = new Error('enough')
    const stop = new AbortController()
    const heard = session().code.run(endless, 'python', 600, {
      streamBeta: true,
      signal: stop.signal,
      onStdout: () => stop.abort(reason),
    })
    await expect(heard).rejects.toBe(reason)
    expect((await session().code.run('kept', 'python')).results[0]?.text).toBe('5')

    const late = session().code.run(endless, 'python', 600, { streamBeta: true, timeoutMs: 300 })
    expect(await late).toMatchObject({ success: false, errorMessage: 'the stream took longer than 300 ms' })
    expect((await session().code.run('kept', 'python')).results[0]?.text).toBe('5')
    expect(() => AbortSignal.abort(reason).throwIfAborted()).toThrow(reason)
    await expect(session().code.stream('1', 'python', { signal: stop.signal }).next()).rejects.toBe(reason)
  })

  it('streams several runs at once', async () => {
    const runs = [1, 2, 3].map((n) => session().code.run(`print(${n})`, 'python', 30, { streamBeta: true }))
    const said = (await Promise.all(runs)).map((run) => run.logs.stdout.join(''))
    expect(said).toEqual(['1\n', '2\n', '3\n'])
  })

  it('needs a session that was asked for', async () => {
    const unknown = new Session(newAgb(), session().getSessionId())
    expect(await unknown.code.run('1', 'python', 60, { streamBeta: true })).toMatchObject({
      success: false,
      errorMessage: expect.stringContaining('wsUrl is not set on this session'),
    })
  })

  it('throws its exceptions where that is wanted', async () => {
    const { session: throwing } = await throwingAgb().get(session().getSessionId())
    for (const streamBeta of [false, true]) {
      const error = await throwing.code
        .run('1/0', 'python', 60, { streamBeta })
        .catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(CodeError)
      expect(error).toMatchObject({ tool: 'run_code', extra: { result: { success: false } } })
      expect((error as Error).message).toContain('division by zero')
    }
  })
})

describe('commands', () => {
  it('tell output and exit code', async () => {
    expect(await session().command.execute('echo out; echo err >&2; exit 3')).toMatchObject({
      success: false,
      exitCode: 3,
      stdout: 'out\n',
      stderr: 'err\n',
      output: 'out\nerr\n',
      errorMessage: 'err\n',
    })
    expect(await session().command.run('true')).toMatchObject({ success: true, exitCode: 0, output: '' })
    expect((await session().command.exec('pwd', 1000, '/tmp')).stdout).toBe('/tmp\n')
  })

  it('take variables that no shell reads', async () => {
    const evil = `it's "quoted"; rm -rf / $(id)`
    const { stdout } = await session().command.execute('printf %s "$EVIL"', 1000, undefined, { EVIL: evil })
    expect(stdout).toBe(evil)
    const wrong = { N: 1 } as unknown as Record<string, string>
    expect(await session().command.execute('true', 1000, undefined, wrong)).toMatchObject({
      success: false,
      exitCode: -1,
      errorMessage: expect.stringContaining('`envs.N` is a number'),
    })
  })

  it('are killed at their timeout', async () => {
    const late = await session().command.execute('sleep 60', 200)
    expect(late).toMatchObject({
      success: false,
      errorMessage: expect.stringContaining('timed out after 200 ms'),
    })
  })

  it('end with their signal and within their time', async () => {
    const stop = new AbortController()
    const waiting = session().command.execute('sleep 20', 30_000, undefined, undefined, {
      signal: stop.signal,
    })
    stop.abort()
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
    expect(
      await session().command.execute('sleep 20', 30_000, undefined, undefined, { timeoutMs: 100 }),
    ).toMatchObject({ success: false, errorMessage: expect.stringContaining('took longer than 100 ms') })
  })

  it('throw where that is wanted', async () => {
    const { session: throwing } = await throwingAgb().get(session().getSessionId())
    const error = await throwing.command.execute('echo why >&2; exit 4').catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(CommandError)
    expect(error).toMatchObject({ message: 'why\n', tool: 'shell', extra: { result: { exitCode: 4 } } })
    await expect(throwing.file.readFile('/none')).rejects.toMatchObject({
      name: 'FileError',
      tool: 'read_file',
    })
  })
})
