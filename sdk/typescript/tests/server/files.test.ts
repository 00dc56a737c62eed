import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FileChangeEvent } from '../../src/index.js'
import { sharedSession } from './session.js'

const session = sharedSession()
const shell = async (command: string): Promise<string> =>
  (await session().command.execute(command, 10_000)).stdout

describe('files', () => {
  it('are written and read as text, of any length', async () => {
    const text = 'Grüße, 世界, 🙂\n'.repeat(400_000)
    expect(await session().file.writeFile('/home/user/a/long.txt', text)).toMatchObject({
      success: true,
      data: true,
    })
    const read = await session().file.readFile('/home/user/a/long.txt')
    expect(read.success && read.content === text).toBe(true)
    expect((await shell('stat -c %s /home/user/a/long.txt')).trim()).toBe(String(Buffer.byteLength(text)))
    await session().file.write('/home/user/a/short.txt', 'one')
    await session().file.write('/home/user/a/short.txt', ' two', 'append')
    expect((await session().file.read('/home/user/a/short.txt')).content).toBe('one two')
    expect(await session().file.writeFile('/home/user/a/short.txt', '', 'create_new')).toMatchObject({
      success: false,
    })
    await session().file.writeFile('/home/user/a/empty.txt', '')
    expect(await session().file.readFile('/home/user/a/empty.txt')).toMatchObject({
      success: true,
      content: '',
    })
  })

  it('are read as bytes', async () => {
    await shell("python3 -c \"open('/tmp/b', 'wb').write(bytes(range(256)) * 40000)\"")
    const { content, size } = await session().file.readFile('/tmp/b', { format: 'bytes' })
    expect(size).toBe(256 * 40_000)
    expect(content.equals(Buffer.alloc(256 * 40_000, Buffer.from([...Array(256).keys()])))).toBe(true)
  })

  it('say what is wrong', async () => {
    for (const format of ['text', 'bytes'] as const) {
      const missing = await session().file.readFile('/home/user/none.txt', { format })
      expect(missing).toMatchObject({ success: false, errorMessage: expect.stringContaining('not found') })
      expect(missing.content).toHaveLength(0)
      expect(await session().file.readFile('/home', { format })).toMatchObject({ success: false })
    }
    expect(await session().file.getFileInfo('relative')).toMatchObject({
      success: false,
      errorMessage: expect.stringMatching(/`path`/),
    })
    expect(await session().file.listDirectory('/none')).toMatchObject({ success: false, entries: [] })
  })

  it('are described, listed, moved, found and deleted', async () => {
    const { file } = session()
    expect(await file.createDirectory('/home/user/d/below')).toMatchObject({ success: true, data: true })
    await file.mkdir('/home/user/d/below')
    await file.writeFile('/home/user/d/x: y.txt', 'text')
    const { fileInfo } = await file.getFileInfo('/home/user/d/x: y.txt')
    expect(fileInfo).toMatchObject({
      name: 'x: y.txt',
      path: '/home/user/d/x: y.txt',
      size: 4,
      isDirectory: false,
    })
    expect(fileInfo).toMatchObject({ owner: 'user', group: 'user', mode: '-rw-r--r--' })
    expect((await file.getFileInfo('/home/user/d')).fileInfo?.isDirectory).toBe(true)
    const entries = [
      { type: 'directory', name: 'below' },
      { type: 'file', name: 'x: y.txt' },
    ]
    for (const list of [file.listDirectory, file.list, file.ls]) {
      const listed = await list.call(file, '/home/user/d')
      expect(listed.entries.sort((a, b) => a.name.localeCompare(b.name))).toEqual(entries)
    }
    expect(await file.moveFile('/home/user/d/x: y.txt', '/home/user/d/below/z.txt')).toMatchObject({
      success: true,
    })
    expect((await file.searchFiles('/home/user/d', '*.txt')).matches).toEqual(['/home/user/d/below/z.txt'])
    expect((await file.searchFiles('/home/user/d', '*.txt', ['below'])).matches).toEqual([])
    expect((await file.searchFiles('/home/user/d', 'nothing')).matches).toEqual([])
    for (const remove of [file.deleteFile, file.delete, file.remove, file.rm]) {
      await file.writeFile('/home/user/d/gone', '')
      expect(await remove.call(file, '/home/user/d/gone')).toMatchObject({ success: true })
      expect(await remove.call(file, '/home/user/d/gone')).toMatchObject({ success: false })
    }
  })

  it('are edited, or left as they are', async () => {
    const { file } = session()
    await file.writeFile('/tmp/e.txt', 'one\ntwo\n')
    const edits = [{ oldText: 'two', newText: '2' }]
    expect(await file.editFile('/tmp/e.txt', edits, true)).toMatchObject({ success: true })
    expect((await file.readFile('/tmp/e.txt')).content).toBe('one\ntwo\n')
    expect(await file.editFile('/tmp/e.txt', edits)).toMatchObject({ success: true })
    expect(await file.editFile('/tmp/e.txt', [{ oldText: 'no', newText: '' }])).toMatchObject({
      success: false,
    })
    expect((await file.readFile('/tmp/e.txt')).content).toBe('one\n2\n')
  })

  it('are read several at once', async () => {
    await session().file.writeFile('/tmp/m1', 'first: line\nsecond')
    await session().file.writeFile('/tmp/m2', 'other')
    const { files } = await session().file.readMultipleFiles(['/tmp/m1', '/tmp/m2', '/tmp/none'])
    expect(files).toMatchObject({ '/tmp/m1': 'first: line\nsecond', '/tmp/m2': 'other' })
    expect(files['/tmp/none']).toContain('not found')
  })
})

describe('a watched directory', () => {
  it('tells its changes', async () => {
    const { file } = session()
    await file.mkdir('/tmp/watched')
    expect(await file.getFileChange('/tmp/watched')).toMatchObject({ success: true, events: [] })
    await file.writeFile('/tmp/watched/a', '')
    const { events, rawData } = await file.getFileChange('/tmp/watched')
    expect(events).toContainEqual({ eventType: 'create', path: '/tmp/watched/a', pathType: 'file' })
    expect(rawData).toContain('/tmp/watched/a')
  })

  it('tells them as they come, until it is stopped', async () => {
    const { file } = session()
    await file.mkdir('/tmp/live')
    await file.getFileChange('/tmp/live')
    const stop = new AbortController()
    const seen: FileChangeEvent[] = []
    const watching = file.watchDirectory(
      '/tmp/live',
      (events) => {
        seen.push(...events)
        stop.abort()
      },
      20,
      stop.signal,
    )
    await file.writeFile('/tmp/live/b', '')
    await watching
    expect(seen[0]).toMatchObject({ path: '/tmp/live/b' })

    const changed = new Promise<FileChangeEvent[]>((resolve) => {
      const { stop } = file.watchDir(
        '/tmp/live',
        (events) => {
          stop()
          resolve(events)
        },
        20,
      )
    })
    await file.writeFile('/tmp/live/c', '')
    expect((await changed)[0]).toMatchObject({ path: '/tmp/live/c' })
  })
})

describe('transfers', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-sdk-files-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('carry whole files in both directions', async () => {
    const bytes = Buffer.alloc(20 << 20, 'berth')
    await writeFile(join(folder, 'up'), bytes)
    const sent: number[] = []
    const up = await session().file.upload(join(folder, 'up'), '/home/user/new/up', {
      progressCallback: (count) => sent.push(count),
    })
    expect(up).toMatchObject({
      success: true,
      httpStatus: 204,
      bytesSent: bytes.length,
      path: '/home/user/new/up',
    })
    expect(up.requestIdUploadUrl && up.requestIdSync).toBeTruthy()
    expect(sent.at(-1)).toBe(bytes.length)
    const down = await session().file.download('/home/user/new/up', join(folder, 'down'))
    expect(down).toMatchObject({ success: true, httpStatus: 200, bytesReceived: bytes.length })
    expect((await readFile(join(folder, 'down'))).equals(bytes)).toBe(true)
  })

  it('fail whole', async () => {
    const down = (options = {}) => session().file.download('/home/user/none', join(folder, 'none'), options)
    expect(await down()).toMatchObject({
      success: false,
      bytesReceived: 0,
      errorMessage: expect.stringMatching(/none/),
    })
    await expect(readFile(join(folder, 'none'))).rejects.toThrow()
    await writeFile(join(folder, 'none'), 'mine')
    expect(await down({ overwrite: false })).toMatchObject({
      success: false,
      errorMessage: expect.stringMatching(/overwrite/),
    })
    expect(await session().file.upload(join(folder, 'absent'), '/tmp/x')).toMatchObject({
      success: false,
      errorMessage: expect.stringContaining('Local file not found'),
    })
    await expect(down({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' })
  })
})
