/** Takes the fingerprint of a browser of this machine, through Playwright, which the caller's project has to have. */

import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { BrowserError, messageOf } from '../errors.js'
import { isObject, objectOf } from '../json.js'
import { logError } from '../log.js'
import { FingerprintFormat } from './fingerprint.js'

/** What is needed of a page of Playwright. */
export interface FingerprintPage {
  /** Opens a page. */
  goto(url: string): Promise<unknown>
  /** Runs a script in the page. */
  evaluate(script: string): Promise<unknown>
}

interface LaunchedBrowser {
  newContext(options: object): Promise<{ newPage(): Promise<FingerprintPage> }>
  close(): Promise<void>
}

interface Playwright {
  chromium: { launch(options: object): Promise<LaunchedBrowser> }
}

const HEADERS = [
  'sec-ch-ua',
  'sec-ch-ua-mobile',
  'sec-ch-ua-platform',
  'upgrade-insecure-requests',
  'user-agent',
  'accept',
  'sec-fetch-site',
  'sec-fetch-mode',
  'sec-fetch-user',
  'sec-fetch-dest',
  'accept-encoding',
  'accept-language',
]

/**
 * Takes fingerprints. Needs `playwright` in the project.
 *
 * @example
 * ```ts
 * const fingerprintFormat = await new BrowserFingerprintGenerator({ headless: true }).generateFingerprint()
 * ```
 */
export class BrowserFingerprintGenerator {
  readonly #headless: boolean
  readonly #useChromeChannel: boolean

  /** @param options say which browser is started, and whether it is seen. */
  constructor(options: { headless?: boolean; useChromeChannel?: boolean } = {}) {
    this.#headless = options.headless ?? false
    this.#useChromeChannel = options.useChromeChannel ?? true
  }

  /** A fingerprint; `null` if it cannot be had, which the log explains. @example `await generator.generateFingerprint()` */
  async generateFingerprint(): Promise<FingerprintFormat | null> {
    try {
      const browser = await this.#launch()
      try {
        const context = await browser.newContext({ viewport: null })
        const page = await context.newPage()
        const headers = await this.extractHeadersData(page)
        const fingerprint = await this.extractFingerprintData(page)
        return FingerprintFormat.fromDict({ fingerprint, headers })
      } finally {
        await browser.close()
      }
    } catch (error) {
      logError('no fingerprint could be taken:', messageOf(error))
      return null
    }
  }

  /** What a page knows of its browser. @example `await generator.extractFingerprintData(page)` */
  async extractFingerprintData(page: FingerprintPage): Promise<Record<string, unknown>> {
    return objectOf(await page.evaluate(`(${SCRIPT})()`))
  }

  /** The headers that the browser sends, seen by a server of this process. @example `await generator.extractHeadersData(page)` */
  async extractHeadersData(page: FingerprintPage): Promise<Record<string, string>> {
    let seen: Record<string, unknown> = {}
    const server = createServer((request, response) => {
      if (request.url === '/') seen = request.headers
      response.setHeader('content-type', 'text/html').end('<!doctype html><title>headers</title>')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    } finally {
      server.closeAllConnections()
      server.close()
    }
    return Object.fromEntries(HEADERS.flatMap((name) => (seen[name] ? [[name, String(seen[name])]] : [])))
  }

  /** Takes a fingerprint and writes it to a file; whether that was done. @example `await generator.generateFingerprintToFile()` */
  async generateFingerprintToFile(outputFilename = 'fingerprint_output.json'): Promise<boolean> {
    const format = await this.generateFingerprint()
    if (format === null) return false
    try {
      await writeFile(outputFilename, format.toJson())
      return true
    } catch (error) {
      logError('the fingerprint could not be written:', messageOf(error))
      return false
    }
  }

  async #launch(): Promise<LaunchedBrowser> {
    // Not a dependency, and not to be looked for by a bundler.
    const name = 'playwright'
    const loaded: unknown = await import(/* @vite-ignore */ name).catch((cause: unknown) => {
      throw new BrowserError('a fingerprint needs Playwright: npm install playwright', { cause })
    })
    const found = isObject(loaded) && 'default' in loaded && !('chromium' in loaded) ? loaded.default : loaded
    const channel = this.#useChromeChannel ? { channel: 'chrome' } : {}
    return (found as Playwright).chromium.launch({
      headless: this.#headless,
      args: ['--start-maximized'],
      ...channel,
    })
  }
}

/** Runs in the page. */
const SCRIPT = `async () => {
  const plays = (kind, types) => {
    const element = document.createElement(kind)
    return Object.fromEntries(Object.entries(types).map(([name, type]) => [name, element.canPlayType(type) || '']))
  }
  const attempt = async (work, otherwise) => { try { return (await work()) ?? otherwise } catch { return otherwise } }
  const plugins = [...navigator.plugins].map((plugin) => ({
    name: plugin.name, description: plugin.description, filename: plugin.filename,
    mimeTypes: [...plugin].map(({ type, suffixes, description }) => ({ type, suffixes, description, enabledPlugin: plugin.name })),
  }))
  const mimeTypes = plugins.flatMap((plugin) => plugin.mimeTypes.map((mime) => mime.description + '~~' + mime.type + '~~' + mime.suffixes))
  const battery = await attempt(async () => {
    const { charging, chargingTime, dischargingTime, level } = await navigator.getBattery()
    return { charging, chargingTime, dischargingTime, level }
  }, { charging: true, chargingTime: 0, dischargingTime: null, level: 1 })
  const videoCard = await attempt(() => {
    const gl = document.createElement('canvas').getContext('webgl')
    const info = gl.getExtension('WEBGL_debug_renderer_info')
    return {
      renderer: gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER),
      vendor: gl.getParameter(info ? info.UNMASKED_VENDOR_WEBGL : gl.VENDOR),
    }
  }, { renderer: 'Unknown', vendor: 'Unknown' })
  const devices = await attempt(() => navigator.mediaDevices.enumerateDevices(), [])
  const ofKind = (wanted) => devices.filter(({ kind }) => kind === wanted)
    .map(({ deviceId, kind, label, groupId }) => ({ deviceId, kind, label, groupId }))
  const width = (font) => {
    const context = document.createElement('canvas').getContext('2d')
    context.font = '72px ' + font
    return context.measureText('mmmmmmmmmmlli').width
  }
  const fonts = ['Arial', 'Helvetica', 'Times New Roman', 'Courier New', 'Verdana', 'Georgia', 'Palatino', 'Garamond',
    'Bookman', 'Comic Sans MS', 'Trebuchet MS', 'Arial Black', 'Impact'].filter((font) =>
    ['monospace', 'sans-serif', 'serif'].some((base) => width('"' + font + '", ' + base) !== width(base)))
  const of = (source, names) => Object.fromEntries(names.map((name) => [name, source[name]]))
  const agent = navigator.userAgentData
  const details = agent ? await attempt(() => agent.getHighEntropyValues(
    ['architecture', 'bitness', 'fullVersionList', 'model', 'platformVersion', 'uaFullVersion']), {}) : {}
  return {
    screen: {
      ...of(screen, ['availTop', 'availLeft', 'availWidth', 'availHeight', 'width', 'height', 'colorDepth', 'pixelDepth']),
      ...of(window, ['pageXOffset', 'pageYOffset', 'screenX', 'innerWidth', 'innerHeight', 'outerWidth', 'outerHeight', 'devicePixelRatio']),
      ...of(document.documentElement, ['clientWidth', 'clientHeight']),
      hasHDR: matchMedia('(dynamic-range: high)').matches,
    },
    navigator: {
      ...of(navigator, ['userAgent', 'language', 'languages', 'platform', 'deviceMemory', 'hardwareConcurrency', 'maxTouchPoints',
        'product', 'productSub', 'vendor', 'vendorSub', 'doNotTrack', 'appCodeName', 'appName', 'appVersion', 'oscpu']),
      userAgentData: agent ? { ...of(agent, ['brands', 'mobile', 'platform']), ...details } : null,
      webdriver: false,
      extraProperties: {
        vendorFlavors: ['chrome'], isBluetoothSupported: 'bluetooth' in navigator,
        globalPrivacyControl: navigator.globalPrivacyControl ?? null,
        pdfViewerEnabled: navigator.pdfViewerEnabled ?? true, installedApps: [],
      },
    },
    audioCodecs: plays('audio', { ogg: 'audio/ogg; codecs="vorbis"', mp3: 'audio/mpeg', wav: 'audio/wav; codecs="1"', m4a: 'audio/x-m4a', aac: 'audio/aac' }),
    videoCodecs: plays('video', { ogg: 'video/ogg; codecs="theora"', h264: 'video/mp4; codecs="avc1.42E01E"', webm: 'video/webm; codecs="vp8, vorbis"' }),
    pluginsData: { plugins, mimeTypes }, battery, videoCard,
    multimediaDevices: { speakers: ofKind('audiooutput'), micros: ofKind('audioinput'), webcams: ofKind('videoinput') },
    fonts, mockWebRTC: false, slim: false,
  }
}`
