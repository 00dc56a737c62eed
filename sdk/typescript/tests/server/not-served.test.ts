/** What this server does not serve yet: every method gives the server's own words. */

import { expect, inject, it } from 'vitest'
import { AGB, BrowserContext, Context, ContextSync, ExtensionsService } from '../../src/index.js'
import { IMAGE, newAgb, sharedSession, throwingAgb } from './session.js'

const session = sharedSession()
const NOT_SERVED = 'is not a route of this version of Berth'

it('contexts say so', async () => {
  const { context } = newAgb()
  const some = new Context('c-1', 'data')
  for (const result of [
    await context.list({ maxResults: 5 }),
    await context.get('data'),
    await context.create('data'),
    await context.update(some),
    await context.delete(some),
    await context.getFileDownloadUrl('c-1', '/a'),
    await context.getFileUploadUrl('c-1', '/a'),
    await context.deleteFile('c-1', '/a'),
    await context.listFiles('c-1', '/'),
    await context.clearAsync('c-1'),
    await context.getClearStatus('c-1'),
    await context.clear('c-1'),
    await session().context.info(),
    await session().context.sync(),
  ]) {
    expect(result).toMatchObject({ success: false, errorMessage: expect.stringContaining(NOT_SERVED) })
    expect(result.requestId).toBeTruthy()
  }
  expect(await session().file.transferPath()).toBeUndefined()
})

it('extensions say so, and end no process', async () => {
  const extensions = new ExtensionsService(newAgb(), 'mine')
  await expect(extensions.list()).rejects.toThrow(NOT_SERVED)
  await expect(extensions.update('ext_1.zip', 'a.zip')).rejects.toThrow(NOT_SERVED)
  expect(await extensions.delete('ext_1.zip')).toBe(false)
  expect(await extensions.cleanup()).toBe(false)
  expect(() => extensions.createExtensionOption(['ext_1.zip'])).toThrow('not ready')
})

it('the browser says so', async () => {
  const { browser } = session()
  expect(await browser.initialize({ useStealth: true })).toBe(false)
  expect(browser.isInitialized()).toBe(false)
  await expect(browser.getEndpointUrl()).rejects.toMatchObject({
    name: 'BrowserError',
    message: expect.stringContaining(NOT_SERVED),
  })
  expect(await browser.destroy()).toMatchObject({
    success: false,
    errorMessage: expect.stringContaining('stopChrome'),
  })
  await expect(browser.agent.navigate('https://example.com')).rejects.toThrow('must be initialized')
  const { session: throwing } = await throwingAgb().get(session().getSessionId())
  await expect(throwing.browser.initialize({})).rejects.toThrow(NOT_SERVED)
})

it('sessions with contexts are refused or wait for nothing', async () => {
  const agb = new AGB({ apiKey: inject('key'), config: { endpoint: inject('endpoint') } })
  const created = await agb.create({
    imageId: IMAGE,
    contextSync: [new ContextSync('c-1', '/home/user/data')],
    browserContext: new BrowserContext('c-2'),
  })
  expect(created.success).toBe(false)
  expect(created.errorMessage).toBeTruthy()
  expect(await session().delete(true)).toMatchObject({ success: true })
})
