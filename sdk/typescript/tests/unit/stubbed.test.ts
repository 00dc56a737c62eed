/** What no server of this tree serves yet, against a stub that does: contexts, extensions, the browser. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  BrowserContext,
  BrowserFingerprintContext,
  BrowserOptionClass,
  BrowserProxyClass,
  ClearanceTimeoutError,
  Context,
  ContextSync,
  ExtensionOption,
  ExtensionsService,
  FingerprintFormat,
  Lifecycle,
  newRecyclePolicy,
  newSyncPolicy,
  newUploadPolicy,
  Session,
  syncPolicyToDict,
  UploadMode,
} from '../../src/index.js'
import { refuse, Stub } from './stub.js'

const stub = new Stub()
const session = () => new Session(stub.agb(), 's-1')

function status(...items: object[]): object {
  const data = JSON.stringify(
    items.map((item) => ({ contextId: 'c-1', path: '/d', errorMessage: '', ...item })),
  )
  return {
    contextStatus: JSON.stringify([
      { type: 'other', data: 'x' },
      { type: 'data', data },
    ]),
  }
}

describe('contexts', () => {
  it('are made, found, renamed and deleted', async () => {
    stub.replies(() => ({ id: 'c-1', name: 'data', createTime: 't', state: 'available' }))
    const { context } = stub.agb()
    expect(await context.create(' data ')).toMatchObject({
      success: true,
      context: { id: 'c-1', createdAt: 't' },
    })
    expect(await context.get(undefined, false, 'region', 'c-1')).toMatchObject({ context: { name: 'data' } })
    expect(await context.update(new Context('c-1', 'new'))).toMatchObject({ data: { context_id: 'c-1' } })
    expect(await context.delete(new Context('c-1', 'new'))).toMatchObject({ data: { context_id: 'c-1' } })
    expect(await context.deleteFile('c-1', '/a')).toMatchObject({ success: true })
    expect(stub.seen).toMatchObject([
      { path: '/sdk/GetContext', query: { name: 'data', allowCreate: 'true' } },
      { path: '/sdk/GetContext', query: { id: 'c-1', allowCreate: 'false', loginRegionId: 'region' } },
      { path: '/sdk/ModifyContext', query: { id: 'c-1', name: 'new' } },
      { path: '/sdk/DeleteContext', query: { id: 'c-1' } },
      { path: '/sdk/DeleteContextFile', query: { contextId: 'c-1', filePath: '/a' } },
    ])
    stub.seen = []
    expect(await context.get()).toMatchObject({ success: false })
    expect(await context.get('n', true, '', 'c-1')).toMatchObject({ success: false })
    expect(await context.update(new Context('c-1', ' '))).toMatchObject({ success: false })
    expect(stub.seen).toEqual([])
  })

  it('are listed with their pages, as are their files', async () => {
    stub.replies(() => ({
      whole: { data: [{ id: 'c-1', name: 'a' }], nextToken: 'T', maxResults: 1, totalCount: 2 },
    }))
    expect(await stub.agb().context.list({ maxResults: 1, nextToken: 'S' })).toMatchObject({
      contexts: [{ id: 'c-1', name: 'a' }],
      nextToken: 'T',
      totalCount: 2,
    })
    expect(stub.seen[0]?.query).toEqual({ maxResults: '1', nextToken: 'S' })
    stub.replies(() => ({
      whole: { data: [{ fileName: 'a', filePath: '/d/a', fileType: 'FILE', size: 3 }], count: 7 },
    }))
    expect(await stub.agb().context.listFiles('c-1', '/d')).toMatchObject({
      files: [{ name: 'a', path: '/d/a', type: 'FILE', size: 3 }],
      count: 7,
    })
    stub.replies(() => ({ url: 'http://signed', expireTime: 9 }))
    expect(await stub.agb().context.getFileUploadUrl('c-1', '/a')).toMatchObject({
      url: 'http://signed',
      expireTime: 9,
    })
    stub.replies(() => ({}))
    expect(await stub.agb().context.getFileDownloadUrl('c-1', '/a')).toMatchObject({
      errorMessage: 'No URL in response',
    })
  })

  it('are cleared', async () => {
    let looks = 0
    stub.replies(({ path }) => {
      looks += path === '/sdk/GetContext' ? 1 : 0
      return { id: 'c-1', state: looks > 1 ? 'available' : 'clearing' }
    })
    expect(await stub.agb().context.clear('c-1', 1, 0.01)).toMatchObject({
      success: true,
      state: 'available',
    })
    stub.replies(() => ({}))
    await expect(stub.agb().context.clear('c-1', 0.03, 0.01)).rejects.toThrow(ClearanceTimeoutError)
    stub.replies((_seen, response) => refuse(response, 400, 'InvalidContext.NotFound', 'no such context'))
    expect(await stub.agb().context.clear('c-1')).toMatchObject({
      success: false,
      errorMessage: 'no such context',
    })
  })

  it('move their files, and wait for them', async () => {
    let looks = 0
    stub.replies(({ path }) => {
      if (path !== '/sdk/GetContextInfo') return {}
      looks += 1
      return status({ taskType: 'upload', status: looks > 1 ? 'Success' : 'Running' })
    })
    const { context } = session()
    expect(await context.sync('c-1', '/d', 'upload', 10, 1)).toMatchObject({
      success: true,
      requestId: 'R-1',
    })
    expect(stub.seen[0]).toMatchObject({
      query: { sessionId: 's-1', contextId: 'c-1', path: '/d', mode: 'upload' },
    })
    expect((await context.info()).items).toMatchObject([
      { contextId: 'c-1', taskType: 'upload', status: 'Success' },
    ])
    const told = new Promise((resolve) => context.sync('c-1', '/d', '', 10, 1, resolve))
    expect(await told).toBe(true)
    expect(await context.sync('c-1')).toMatchObject({
      success: false,
      errorMessage: expect.stringContaining('`path`'),
    })
    stub.replies(() => status({ taskType: 'download', status: 'Failed', errorMessage: 'full' }))
    expect(await context.sync()).toMatchObject({
      success: false,
      errorMessage: expect.stringContaining('full'),
    })
    stub.replies(() => status({ taskType: 'download', status: 'Running' }))
    expect(await context.sync('', '', '', 2, 1)).toMatchObject({
      success: false,
      errorMessage: expect.stringContaining('2 looks'),
    })
  })

  it('come into a session with a policy, also where none was given', async () => {
    stub.replies(({ path }) =>
      path === '/sdk/GetContextInfo'
        ? status({ taskType: 'download', status: 'Failed', errorMessage: 'no' })
        : { sessionId: 's-1' },
    )
    const created = await stub.agb().create({
      imageId: 'i',
      contextSync: [
        new ContextSync('c-1', '/d'),
        ContextSync.new('c-2', '/e').withPolicy({ mappingPolicy: { path: '/o' } }),
      ],
      browserContext: new BrowserContext(
        'c-3',
        false,
        new ExtensionOption('c-4', ['ext_1.zip']),
        new BrowserFingerprintContext('c-5'),
      ),
    })
    expect(created.success).toBe(true)
    const { persistenceDataList } = JSON.parse(stub.seen[0]?.body ?? '')
    const sent = persistenceDataList.map((item: { contextId: string; path: string; policy: string }) => ({
      ...item,
      policy: JSON.parse(item.policy),
    }))
    expect(sent).toMatchObject([
      { contextId: 'c-1', path: '/d', policy: { uploadPolicy: { autoUpload: true, uploadMode: 'File' } } },
      { contextId: 'c-2', path: '/e', policy: { mappingPolicy: { path: '/o' } } },
      {
        contextId: 'c-4',
        path: '/tmp/extensions/',
        policy: { bwList: { whiteLists: [{ path: 'ext_1.zip' }] } },
      },
      {
        contextId: 'c-5',
        path: '/tmp/agb_browser_fingerprint',
        policy: { uploadPolicy: { autoUpload: false } },
      },
      { contextId: 'c-3', path: '/tmp/agb_browser_data', policy: { uploadPolicy: { autoUpload: false } } },
    ])
  })

  it('have policies that are checked', () => {
    const policy = newSyncPolicy({ uploadPolicy: newUploadPolicy({ uploadMode: UploadMode.ARCHIVE }) })
    expect(syncPolicyToDict(policy)).toEqual({
      uploadPolicy: {
        autoUpload: true,
        uploadStrategy: 'UploadBeforeResourceRelease',
        uploadMode: 'Archive',
      },
      downloadPolicy: { autoDownload: true, downloadStrategy: 'DownloadAsync' },
      deletePolicy: { syncLocalFile: true },
      extractPolicy: { extract: true, deleteSrcFile: true, extractToCurrentFolder: false },
      recyclePolicy: { lifecycle: 'Lifecycle_Forever', paths: [''] },
      bwList: { whiteLists: [] },
    })
    expect(() => newRecyclePolicy({ lifecycle: Lifecycle.LIFECYCLE_1DAY, paths: ['*.txt'] })).toThrow(
      'Wildcard',
    )
    const lists = { bwList: { whiteLists: [{ path: '/a', excludePaths: ['b?'] }] } }
    expect(() => syncPolicyToDict(newSyncPolicy(lists))).toThrow('Wildcard')
  })
})

describe('extensions', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-sdk-extension-'))
    await writeFile(join(folder, 'a.zip'), 'PK')
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('are uploaded, replaced, listed and deleted', async () => {
    let id = ''
    stub.replies(({ path }) => {
      if (path === '/sdk/GetContext') return { id: 'c-9' }
      if (path === '/sdk/DescribeContextFiles') return [{ fileName: id }]
      return { url: `${stub.endpoint}/signed` }
    })
    const extensions = new ExtensionsService(stub.agb())
    const made = await extensions.create(join(folder, 'a.zip'))
    id = made.id
    expect(made).toMatchObject({ id: expect.stringMatching(/^ext_[0-9a-f]{32}\.zip$/), name: 'a.zip' })
    const put = stub.seen.find(({ method }) => method === 'PUT')
    expect(put).toMatchObject({ path: '/signed', body: 'PK' })
    expect(put?.headers.authorization).toBeUndefined()
    expect(extensions.contextId).toBe('c-9')
    expect((await extensions.list()).map((each) => each.id)).toEqual([id])
    expect(await extensions.update(id, join(folder, 'a.zip'))).toMatchObject({ id })
    await expect(extensions.update('ext_0.zip', join(folder, 'a.zip'))).rejects.toThrow('`extensionId`')
    await expect(extensions.create(join(folder, 'a.txt'))).rejects.toThrow('.zip')
    expect(await extensions.delete(id)).toBe(true)
    expect(await extensions.cleanup()).toBe(true)
    const option = extensions.createExtensionOption([id])
    expect([option.contextId, option.validate(), String(option).includes(id)]).toEqual(['c-9', true, true])
    expect(option.toDisplayString()).toContain('1 extension')
    expect(await readFile(join(folder, 'a.zip'), 'utf8')).toBe('PK')
  })
})

describe('the browser', () => {
  it('starts, is reached, acts and stops', async () => {
    let polls = 0
    stub.replies(({ path, body }) => {
      if (path === '/browser/init') return { port: 30123 }
      if (path === '/internet/getCdpLink') return { url: 'ws://cdp' }
      const { name } = JSON.parse(body)
      const texts: Record<string, string> = {
        page_use_observe: '[{"selector":"#a","description":"d","method":"click","arguments":"{\\"x\\":1}"}]',
        page_use_extract: '{"price":1}',
        page_use_act_async: '{"task_id":"t"}',
        page_use_get_act_result: `{"is_done":${polls > 0},"success":true,"steps":["s"]}`,
      }
      polls += name === 'page_use_get_act_result' ? 1 : 0
      return { content: [{ type: 'text', text: texts[name] ?? name }] }
    })
    const { browser } = session()
    expect(await browser.initialize({ viewport: { width: 1, height: 2 } })).toBe(true)
    expect(await browser.initializeAsync({})).toBe(true)
    expect(JSON.parse(stub.seen[0]?.query.browserOption ?? '')).toEqual({
      useStealth: false,
      viewport: { width: 1, height: 2 },
      solveCaptchas: false,
      extensionPath: '/tmp/extensions/',
    })
    expect(stub.seen[0]?.query.persistentPath).toBe('/tmp/agb_browser_data')
    expect([await browser.getEndpointUrl(), await browser.getEndpointUrl()]).toEqual(['ws://cdp', 'ws://cdp'])
    expect(stub.seen).toHaveLength(2)
    const { agent } = browser
    expect(await agent.navigate('http://a')).toBe('page_use_navigate')
    expect(await agent.screenshot({ quality: 10 })).toBe('page_use_screenshot')
    expect(await agent.act({ action: 'click', variables: { a: 'b' } })).toEqual({
      success: true,
      message: 'page_use_act',
    })
    const { results } = await agent.observe({ instruction: 'find' })
    expect(results).toEqual([{ selector: '#a', description: 'd', method: 'click', arguments: { x: 1 } }])
    await agent.act(results[0] as (typeof results)[0])
    expect(JSON.parse(JSON.parse(stub.seen.at(-1)?.body ?? '').args).action).toBe(
      '{"method":"click","arguments":{"x":1}}',
    )
    expect(await agent.extract<{ price: number }>({ instruction: 'i', schema: {} })).toEqual({
      success: true,
      data: { price: 1 },
    })
    expect(await agent.close()).toBe(true)
    const page = { screenshot: async (options: object) => Buffer.from(JSON.stringify(options)) }
    expect(String(await browser.screenshot(page, true, { type: 'jpeg' }))).toContain('"fullPage":true')
    await expect(browser.screenshot(null)).rejects.toThrow('`page`')
    expect(await browser.destroy()).toMatchObject({ success: true })
    expect([browser.isInitialized(), browser.getOption()]).toEqual([false, null])
  })

  it('waits for tasks', async () => {
    let polls = 0
    stub.replies(({ path, body }) => {
      if (path === '/browser/init') return { port: 1 }
      if (!JSON.parse(body).name.includes('get')) return { content: [{ text: '{"task_id":"t"}' }] }
      polls += 1
      return { content: [{ text: `{"is_done":false,"success":false,"steps":[]}` }] }
    })
    const { browser } = session()
    await browser.initialize({})
    await expect(browser.agent.actAsync({ action: 'a', timeout: 0.02 })).rejects.toThrow('Act timed out')
    expect(polls).toBe(1)
  })

  it('has options that are checked and kept', () => {
    const fingerprintFormat = FingerprintFormat.load({
      fingerprint: { navigator: { userAgent: 'UA' } },
      headers: { a: 'b' },
    })
    expect(fingerprintFormat.fingerprint.navigator).toMatchObject({ userAgent: 'UA', hardwareConcurrency: 8 })
    expect(FingerprintFormat.fromJson(fingerprintFormat.toJson())).toEqual(fingerprintFormat)
    const proxies = [new BrowserProxyClass('custom', 'h:1', 'u', 'secret')]
    const option = new BrowserOptionClass({
      fingerprintFormat,
      fingerprintPersistent: true,
      proxies,
      userAgent: 'UA',
    })
    expect(option.toMap()).toMatchObject({
      proxies: [{ type: 'custom', server: 'h:1', username: 'u', password: 'secret' }],
      fingerprintPersistPath: '/tmp/agb_browser_fingerprint/fingerprint.json',
    })
    expect(new BrowserOptionClass().fromMap({ ...option.toMap(), unknown: 1 }).toMap()).toEqual(
      option.toMap(),
    )
    expect(JSON.stringify(proxies)).not.toContain('secret')
    expect(() => new BrowserOptionClass({ proxies: [...proxies, ...proxies] })).toThrow('`proxies`')
    expect(() => new BrowserOptionClass({ browserType: 'ie' as 'chrome' })).toThrow('`browserType`')
    for (const wrong of [
      ['custom'],
      ['other', 'h'],
      ['built-in', '', '', '', 'sticky'],
      ['built-in', '', '', '', 'polling', -1],
      ['managed', '', '', '', 'polling'],
      ['managed', '', '', '', 'matched', 1, 'u'],
    ]) {
      expect(
        () => new BrowserProxyClass(...(wrong as ConstructorParameters<typeof BrowserProxyClass>)),
      ).toThrow(/./)
    }
    expect(BrowserProxyClass.fromMap({ type: 'built-in', strategy: 'polling' })?.toMap()).toEqual({
      type: 'built-in',
      strategy: 'polling',
      pollsize: 10,
    })
    expect(BrowserProxyClass.fromMap(null)).toBeNull()
  })
})
