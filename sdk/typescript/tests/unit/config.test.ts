import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parseEnv, readEnv } from '../../src/dot-env.js'
import { baseUrl } from '../../src/http.js'
import {
  AGB,
  AuthenticationError,
  Client,
  defaultConfig,
  InvalidArgumentError,
  loadConfig,
} from '../../src/index.js'

describe('a .env file', () => {
  it('has names and values, quotes, comments and exports', () => {
    const text = [
      '\uFEFF# a comment',
      'PLAIN=value',
      'export EXPORTED = spaced value  # why',
      'HASH=a#b',
      `SINGLE='a "b" \\n # c' # why`,
      'DOUBLE="line\\nnext \\"quoted\\" # kept"',
      'EMPTY=',
      'NOTHING= # only a comment',
      'OPEN="not closed',
      'no assignment',
      '1BAD=x',
    ].join('\r\n')
    expect(parseEnv(text)).toEqual({
      PLAIN: 'value',
      EXPORTED: 'spaced value',
      HASH: 'a#b',
      SINGLE: 'a "b" \\n # c',
      DOUBLE: 'line\nnext "quoted" # kept',
      EMPTY: '',
      NOTHING: '',
      OPEN: '"not closed',
    })
  })
})

describe('the configuration', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-sdk-env-'))
    for (const name of ['AGB_API_KEY', 'AGB_ENDPOINT', 'AGB_TIMEOUT_MS']) vi.stubEnv(name, undefined)
    vi.spyOn(process, 'cwd').mockReturnValue(join(folder, 'a/b'))
    mkdirSync(join(folder, 'a/b'), { recursive: true })
  })
  afterEach(() => {
    vi.restoreAllMocks()
    vi.unstubAllEnvs()
    rmSync(folder, { recursive: true })
  })

  it('comes from the nearest .env above, at once, and leaves the environment alone', () => {
    writeFileSync(join(folder, '.env'), 'AGB_API_KEY=far\nAGB_ENDPOINT=http://far')
    writeFileSync(join(folder, 'a/.env'), 'AGB_API_KEY=near\nAGB_ENDPOINT=http://near:1\nAGB_TIMEOUT_MS=5')
    const agb = new AGB()
    expect([agb.apiKey, agb.config]).toEqual(['near', { endpoint: 'http://near:1', timeoutMs: 5 }])
    expect(process.env.AGB_API_KEY).toBeUndefined()
    expect(new Client().apiKey).toBe('near')
    vi.stubEnv('AGB_API_KEY', 'set')
    expect(new AGB().apiKey).toBe('set')
    expect(new AGB({ config: { timeoutMs: 7 } }).config).toEqual({ endpoint: 'http://near:1', timeoutMs: 7 })
    expect(new AGB('given').apiKey).toBe('given')
  })

  it('comes from the file that is named', () => {
    writeFileSync(join(folder, 'mine'), 'AGB_API_KEY=mine')
    expect(new AGB({ envFile: join(folder, 'mine') }).apiKey).toBe('mine')
    expect(() => new AGB({ apiKey: 'k', envFile: 'none' })).toThrow(/`envFile` is "none"/)
    expect(loadConfig({ timeoutMs: 0 }, join(folder, 'mine'))).toEqual(defaultConfig())
    expect(readEnv(undefined, folder)).toEqual({})
  })

  it('is refused when it makes no sense', () => {
    expect(() => new AGB()).toThrow(AuthenticationError)
    vi.stubEnv('AGB_TIMEOUT_MS', 'abc')
    expect(() => new AGB('k')).toThrow('`AGB_TIMEOUT_MS` is "abc"; allowed: a number of milliseconds')
    vi.stubEnv('AGB_TIMEOUT_MS', '0')
    expect(new AGB('k').config.timeoutMs).toBe(60_000)
  })

  it.each([
    ['h', 'https://h'],
    ['h:8080', 'https://h:8080'],
    ['h/base', 'https://h/base'],
    ['http://h:8080/', 'http://h:8080'],
    ['HTTP://H/base//', 'http://h/base'],
  ])('takes the endpoint %s for %s', (endpoint, url) => {
    expect(baseUrl(endpoint)).toBe(url)
  })

  it.each(['', 'ftp://h', 'http://'])('refuses the endpoint %j', (endpoint) => {
    expect(() => baseUrl(endpoint)).toThrow(InvalidArgumentError)
  })
})
