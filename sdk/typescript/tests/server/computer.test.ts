import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MouseButton, ScrollDirection, type WindowInfo } from '../../src/index.js'
import { sharedSession } from './session.js'

const session = sharedSession({ imageId: 'agb-computer-use-1' })

/** Looks until there is something. */
async function until<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + 20_000
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > deadline) throw new Error(`in vain: ${look}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

const windows = async (): Promise<WindowInfo[]> => (await session().computer.window.listRootWindows()).windows

describe('the screen', () => {
  it('has a size and gives pictures', async () => {
    const { screen } = session().computer
    const size = await screen.getSize()
    expect(size).toMatchObject({ success: true, dpiScalingFactor: expect.any(Number) })
    const png = await screen.betaTakeScreenshot()
    expect(png).toMatchObject({
      type: 'screenshot',
      mimeType: 'image/png',
      width: size.width,
      height: size.height,
    })
    expect(png.data?.subarray(1, 4).toString()).toBe('PNG')
    const jpeg = await screen.betaTakeScreenshot('JPG')
    expect(jpeg.data?.subarray(0, 2).toString('hex')).toBe('ffd8')
    expect(await screen.betaTakeScreenshot('bmp')).toMatchObject({
      success: false,
      errorMessage: expect.stringMatching(/Invalid format/),
    })
    for (const { data } of [await screen.capture(), await session().computer.screenshot()]) {
      expect((await fetch(String(data))).headers.get('content-type')).toMatch(/^image\//)
    }
  })
})

describe('mouse and keyboard', () => {
  it('move, click, drag and scroll', async () => {
    const { mouse } = session().computer
    expect(await mouse.move(110, 120)).toMatchObject({ success: true, data: true })
    expect(await mouse.getPosition()).toMatchObject({ success: true, x: 110, y: 120 })
    expect(await mouse.click(210, 220, MouseButton.RIGHT)).toMatchObject({ success: true })
    expect(await mouse.getPosition()).toMatchObject({ x: 210, y: 220 })
    expect(await session().computer.mouseClick(215, 225)).toMatchObject({ success: true })
    expect(await mouse.drag(300, 300, 350, 360, 'left')).toMatchObject({ success: true })
    expect(await mouse.getPosition()).toMatchObject({ x: 350, y: 360 })
    expect(await mouse.scroll(400, 300, ScrollDirection.DOWN, 2)).toMatchObject({ success: true })
    expect(await mouse.click(-1, 0)).toMatchObject({
      success: false,
      errorMessage: expect.stringMatching(/x/),
    })
  })

  it('press and let go', async () => {
    const { keyboard } = session().computer
    expect(await keyboard.press(['Ctrl', 'Shift'], true)).toMatchObject({ success: true })
    expect(await keyboard.release(['Ctrl', 'Shift'])).toMatchObject({ success: true })
    expect(await keyboard.release('Ctrl')).toMatchObject({ success: true })
    expect(await session().computer.keyPress('Escape')).toMatchObject({ success: true })
    expect(await keyboard.press('NoSuchKey')).toMatchObject({ success: false })
  })
})

describe('applications', () => {
  const marker = '/tmp/typed'
  let pid = 0

  beforeAll(async () => {
    const script = `stty -echo; read line; echo "$line" > ${marker}; sleep 600`
    await session().file.writeFile('/home/user/ask.sh', script)
    const started = await session().computer.app.start('xterm -e bash /home/user/ask.sh', '/tmp')
    expect(started).toMatchObject({ success: true })
    pid = started.data[0]?.pid ?? 0
  })
  afterAll(async () => {
    await session().computer.app.stopByPid(pid)
  })

  it('are listed', async () => {
    const { app } = session().computer
    const { data } = await app.listInstalled()
    expect(data.length).toBeGreaterThanOrEqual(4)
    expect(data[0]).toMatchObject({ name: expect.any(String), start_cmd: expect.any(String) })
    const visible = await until(async () => (await app.getVisible()).data.find((each) => each.pid === pid))
    expect(visible).toMatchObject({ name: expect.stringContaining('xterm') })
  })

  it('have windows that obey', async () => {
    const { window } = session().computer
    const { window_id: id = 0 } = await until(async () => (await windows()).find((each) => each.pid === pid))
    const own = async (): Promise<WindowInfo> => (await windows()).find((each) => each.window_id === id) ?? {}
    expect(await window.activate(id)).toMatchObject({ success: true, data: true })
    const { window: active } = await window.getActiveWindow()
    expect(active).toMatchObject({
      window_id: id,
      id: String(id),
      width: expect.any(Number),
      x: expect.any(Number),
    })
    const screen = await session().computer.screen.getSize()
    expect(await window.maximize(id)).toMatchObject({ success: true })
    await until(async () => Number((await own()).width) >= screen.width - 10)
    expect(await window.restore(id)).toMatchObject({ success: true })
    expect(await window.resize(id, 500, 400)).toMatchObject({ success: true })
    await until(async () => Number((await own()).width) < 600)
    expect(await window.fullscreen(id)).toMatchObject({ success: true })
    expect(await window.restore(id)).toMatchObject({ success: true })
    expect(await window.minimize(id)).toMatchObject({ success: true })
    expect(await window.activate(id)).toMatchObject({ success: true })
    expect(await window.focusMode(true)).toMatchObject({ success: true })
    expect(await window.focusMode(false)).toMatchObject({ success: true })
    expect(await window.activate(4_000_000)).toMatchObject({
      success: false,
      errorMessage: expect.stringMatching(/4000000/),
    })
  })

  it('hear what is typed', async () => {
    const { window, keyboard } = session().computer
    const { window_id: id = 0 } = await until(async () => (await windows()).find((each) => each.pid === pid))
    await window.activate(id)
    expect(await keyboard.type('grün 123')).toMatchObject({ success: true })
    await keyboard.press('Enter')
    const typed = await until(async () => (await session().file.readFile(marker)).content)
    expect(typed).toBe('grün 123\n')
    expect(await window.close(id)).toMatchObject({ success: true })
    await until(async () => !(await windows()).some((each) => each.window_id === id))
  })

  it('are stopped by name, by id and by command', async () => {
    const { app } = session().computer
    const gone = (id: number) =>
      until(async () => !(await app.getVisible()).data.some((each) => each.pid === id))
    const stops = [
      (id: number) => app.stopByPid(id),
      () => app.stopByPname('xterm'),
      (id: number) => app.stopByCmd(`kill -9 ${id}`),
    ]
    for (const stop of stops) {
      const id = (await app.start('xterm')).data[0]?.pid ?? 0
      await until(async () => (await app.getVisible()).data.some((each) => each.pid === id))
      expect(await stop(id)).toMatchObject({ success: true })
      await gone(id)
    }
    expect(await app.start(' ')).toMatchObject({ success: false, data: [] })
  })
})
