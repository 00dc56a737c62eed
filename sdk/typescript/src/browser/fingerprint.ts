/** What a browser looks like to the pages that it visits. */

import { InvalidArgumentError } from '../errors.js'
import { isObject, type JsonObject, listOf, objectOf, parseJson, textOf } from '../json.js'

/** A name and a version. */
export interface Brand {
  /** The name. */
  brand: string
  /** The version. */
  version: string
}

/** What `navigator.userAgentData` says. */
export interface UserAgentData {
  /** Names and versions. */
  brands: Brand[]
  /** Whether it is a mobile device. */
  mobile: boolean
  /** The system. */
  platform: string
  /** The processor. */
  architecture: string
  /** Its width. */
  bitness: string
  /** Names and whole versions. */
  fullVersionList: Brand[]
  /** The device. */
  model: string
  /** The system's version. */
  platformVersion: string
  /** The browser's version. */
  uaFullVersion: string
}

/** What is known beside. */
export interface ExtraProperties {
  /** Objects that the vendor adds. */
  vendorFlavors: string[]
  /** Whether there is Bluetooth. */
  isBluetoothSupported: boolean
  /** Whether tracking is refused. */
  globalPrivacyControl?: unknown
  /** Whether PDFs are shown. */
  pdfViewerEnabled: boolean
  /** Applications of the web that are installed. */
  installedApps: unknown[]
}

/** The graphics processor. */
export interface VideoCard {
  /** What draws. */
  renderer: string
  /** Who made it. */
  vendor: string
}

/** What `screen` and `window` say. */
export interface ScreenFingerprint {
  /** `screen.availHeight`. */
  availHeight: number
  /** `screen.availWidth`. */
  availWidth: number
  /** `screen.availTop`. */
  availTop: number
  /** `screen.availLeft`. */
  availLeft: number
  /** `screen.colorDepth`. */
  colorDepth: number
  /** `screen.height`. */
  height: number
  /** `screen.pixelDepth`. */
  pixelDepth: number
  /** `screen.width`. */
  width: number
  /** `window.devicePixelRatio`. */
  devicePixelRatio: number
  /** `window.pageXOffset`. */
  pageXOffset: number
  /** `window.pageYOffset`. */
  pageYOffset: number
  /** `window.innerHeight`. */
  innerHeight: number
  /** `window.outerHeight`. */
  outerHeight: number
  /** `window.outerWidth`. */
  outerWidth: number
  /** `window.innerWidth`. */
  innerWidth: number
  /** `window.screenX`. */
  screenX: number
  /** The page's width. */
  clientWidth: number
  /** The page's height. */
  clientHeight: number
  /** Whether it shows HDR. */
  hasHDR: boolean
}

/** What `navigator` says. */
export interface NavigatorFingerprint {
  /** `navigator.userAgent`. */
  userAgent: string
  /** `navigator.userAgentData`. */
  userAgentData: UserAgentData
  /** `navigator.doNotTrack`. */
  doNotTrack: string
  /** `navigator.appCodeName`. */
  appCodeName: string
  /** `navigator.appName`. */
  appName: string
  /** `navigator.appVersion`. */
  appVersion: string
  /** `navigator.oscpu`. */
  oscpu: string
  /** `navigator.webdriver`. */
  webdriver: string
  /** `navigator.language`. */
  language: string
  /** `navigator.languages`. */
  languages: string[]
  /** `navigator.platform`. */
  platform: string
  /** `navigator.deviceMemory`. */
  deviceMemory?: number
  /** `navigator.hardwareConcurrency`. */
  hardwareConcurrency: number
  /** `navigator.product`. */
  product: string
  /** `navigator.productSub`. */
  productSub: string
  /** `navigator.vendor`. */
  vendor: string
  /** `navigator.vendorSub`. */
  vendorSub: string
  /** `navigator.maxTouchPoints`. */
  maxTouchPoints?: number
  /** What is known beside. */
  extraProperties: ExtraProperties
}

/** What a browser looks like. */
export interface Fingerprint {
  /** The screen. */
  screen: ScreenFingerprint
  /** The browser. */
  navigator: NavigatorFingerprint
  /** Video that it plays. */
  videoCodecs: Record<string, string>
  /** Audio that it plays. */
  audioCodecs: Record<string, string>
  /** Its plugins. */
  pluginsData: Record<string, string>
  /** The battery. */
  battery?: Record<string, string>
  /** The graphics processor. */
  videoCard: VideoCard
  /** Speakers, microphones, cameras. */
  multimediaDevices: string[]
  /** Fonts that are there. */
  fonts: string[]
  /** Whether WebRTC is feigned. */
  mockWebRTC: boolean
  /** Whether only a part is used. */
  slim?: boolean
}

/** A fingerprint with the headers that go with it. */
export interface FingerprintForm {
  /** The fingerprint. */
  fingerprint: Fingerprint
  /** The headers. */
  headers: Record<string, string>
}

/**
 * The context in which a browser's fingerprint is kept.
 *
 * @example
 * ```ts
 * new BrowserContext(dataId, true, undefined, new BrowserFingerprintContext(fingerprintId))
 * ```
 */
export class BrowserFingerprintContext {
  /** The context's id. */
  fingerprintContextId: string

  constructor(fingerprintContextId: string) {
    if (!fingerprintContextId?.trim())
      throw new InvalidArgumentError('`fingerprintContextId` cannot be empty')
    this.fingerprintContextId = fingerprintContextId
  }
}

/**
 * A fingerprint with the headers that go with it.
 *
 * @example
 * ```ts
 * const fingerprintFormat = FingerprintFormat.load(await readFile('fingerprint.json', 'utf8'))
 * await session.browser.initialize({ useStealth: true, fingerprintFormat })
 * ```
 */
export class FingerprintFormat implements FingerprintForm {
  /** The fingerprint. */
  fingerprint: Fingerprint
  /** The headers. */
  headers: Record<string, string>

  constructor(fingerprint: Fingerprint, headers: Record<string, string>) {
    this.fingerprint = fingerprint
    this.headers = headers
  }

  /** A fingerprint out of JSON text or an object. @example `FingerprintFormat.load(text)` */
  static load(data: string | Record<string, unknown>): FingerprintFormat {
    return typeof data === 'string' ? FingerprintFormat.fromJson(data) : FingerprintFormat.fromDict(data)
  }

  /** A fingerprint out of JSON text. @example `FingerprintFormat.fromJson(text)` */
  static fromJson(jsonStr: string): FingerprintFormat {
    const data = parseJson(jsonStr)
    if (!isObject(data)) throw new InvalidArgumentError('a fingerprint is a JSON object')
    return FingerprintFormat.fromDict(data)
  }

  /** A fingerprint out of an object. What is missing is empty. @example `FingerprintFormat.fromDict(data)` */
  static fromDict(data: Record<string, unknown> | Partial<FingerprintForm>): FingerprintFormat {
    if (!isObject(data)) throw new InvalidArgumentError('a fingerprint is an object')
    const said = objectOf(data.fingerprint)
    const navigator = objectOf(said.navigator)
    const agent = objectOf(navigator.userAgentData)
    const defaults = {
      ...{
        videoCodecs: {},
        audioCodecs: {},
        pluginsData: {},
        multimediaDevices: [],
        fonts: [],
        mockWebRTC: false,
      },
      ...absentAside(said),
      screen: objectOf(said.screen),
      videoCard: { renderer: 'Unknown', vendor: 'Unknown', ...objectOf(said.videoCard) },
      navigator: {
        ...NAVIGATOR,
        ...absentAside(navigator),
        userAgentData: {
          ...AGENT,
          ...absentAside(agent),
          brands: brands(agent.brands),
          fullVersionList: brands(agent.fullVersionList),
        },
        extraProperties: { ...EXTRA, ...absentAside(objectOf(navigator.extraProperties)) },
      },
    }
    // The values are a browser's, and pass through as they are.
    const headers = objectOf(data.headers) as Record<string, string>
    return new FingerprintFormat(defaults as unknown as Fingerprint, headers)
  }

  /** A fingerprint out of its parts. @example `FingerprintFormat.create(screen, navigator, videoCard, headers)` */
  static create(
    screen: ScreenFingerprint,
    navigator: NavigatorFingerprint,
    videoCard: VideoCard,
    headers: Record<string, string>,
    videoCodecs: Record<string, string> = {},
    audioCodecs: Record<string, string> = {},
    pluginsData: Record<string, string> = {},
    battery?: Record<string, string>,
    multimediaDevices: string[] = [],
    fonts: string[] = [],
    mockWebRTC = false,
    slim?: boolean,
  ): FingerprintFormat {
    const parts = {
      screen,
      navigator,
      videoCard,
      videoCodecs,
      audioCodecs,
      pluginsData,
      multimediaDevices,
      fonts,
    }
    const fingerprint: Fingerprint = { ...parts, mockWebRTC }
    if (battery !== undefined) fingerprint.battery = battery
    if (slim !== undefined) fingerprint.slim = slim
    return new FingerprintFormat(fingerprint, headers)
  }

  /** As an object. @example `format.toDict()` */
  toDict(): Record<string, unknown> {
    return { fingerprint: this.fingerprint, headers: this.headers }
  }

  /** As JSON text. @example `await writeFile('fingerprint.json', format.toJson())` */
  toJson(indent = 2): string {
    return JSON.stringify(this.toDict(), null, indent)
  }
}

const NAVIGATOR = {
  userAgent: '',
  doNotTrack: '',
  appCodeName: '',
  appName: '',
  appVersion: '',
  oscpu: '',
  webdriver: '',
  language: '',
  languages: [],
  platform: '',
  hardwareConcurrency: 8,
  product: '',
  productSub: '',
  vendor: '',
  vendorSub: '',
}

const AGENT = {
  mobile: false,
  platform: '',
  architecture: '',
  bitness: '',
  model: '',
  platformVersion: '',
  uaFullVersion: '',
}

const EXTRA = { vendorFlavors: [], isBluetoothSupported: false, pdfViewerEnabled: true, installedApps: [] }

function absentAside(said: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined))
}

function brands(said: unknown): Brand[] {
  return listOf(said)
    .filter(isObject)
    .map(({ brand, version }) => ({ brand: textOf(brand), version: textOf(version) }))
}
