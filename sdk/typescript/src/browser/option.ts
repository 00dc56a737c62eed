/** With what the browser of a session starts. */

import { InvalidArgumentError } from '../errors.js'
import { isObject, listOf, objectOf, present } from '../json.js'
import { type FingerprintForm, FingerprintFormat } from './fingerprint.js'
import { type BrowserProxy, BrowserProxyClass } from './proxy.js'

const FINGERPRINT_FILE = '/tmp/agb_browser_fingerprint/fingerprint.json'

/** The size of a page. */
export interface BrowserViewport {
  /** Pixels. */
  width: number
  /** Pixels. */
  height: number
}

/** The size of a screen. */
export interface BrowserScreen {
  /** Pixels. */
  width: number
  /** Pixels. */
  height: number
}

/** What a random fingerprint has to look like. */
export interface BrowserFingerprint {
  /** Kinds of devices. */
  devices?: Array<'desktop' | 'mobile'>
  /** Systems. */
  operatingSystems?: Array<'windows' | 'macos' | 'linux' | 'android' | 'ios'>
  /** Languages, such as `en-GB`. */
  locales?: string[]
}

/** With what the browser starts. */
export interface BrowserOption {
  /** Where its data is kept; `/tmp/agb_browser_data` always. */
  persistentPath?: string
  /** Whether traces of automation are hidden. */
  useStealth?: boolean
  /** As what it introduces itself. */
  userAgent?: string
  /** The size of its pages. */
  viewport?: BrowserViewport
  /** The size of its screen. */
  screen?: BrowserScreen
  /** What a random fingerprint has to look like. */
  fingerprint?: BrowserFingerprint
  /** A fingerprint. */
  fingerprintFormat?: FingerprintFormat
  /** Whether the fingerprint is kept for the next session. */
  fingerprintPersistent?: boolean
  /** Whether captchas are solved. */
  solveCaptchas?: boolean
  /** At most one proxy. */
  proxies?: BrowserProxy[]
  /** A folder of unpacked extensions. */
  extensionPath?: string
  /** Switches of the browser. */
  cmdArgs?: string[]
  /** The first page. */
  defaultNavigateUrl?: string
  /** Which browser. */
  browserType?: 'chrome' | 'chromium'
}

/**
 * With what the browser starts, checked and with defaults.
 *
 * @example
 * ```ts
 * await session.browser.initialize(new BrowserOptionClass({ viewport: { width: 1280, height: 800 } }))
 * ```
 */
export class BrowserOptionClass implements BrowserOption {
  /** Where its data is kept. */
  persistentPath?: string
  /** Whether traces of automation are hidden. */
  useStealth?: boolean = false
  /** As what it introduces itself. */
  userAgent?: string
  /** The size of its pages. */
  viewport?: BrowserViewport
  /** The size of its screen. */
  screen?: BrowserScreen
  /** What a random fingerprint has to look like. */
  fingerprint?: BrowserFingerprint
  /** A fingerprint. */
  fingerprintFormat?: FingerprintFormat
  /** Whether the fingerprint is kept for the next session. */
  fingerprintPersistent?: boolean
  /** Where it is kept. */
  fingerprintPersistPath?: string
  /** Whether captchas are solved. */
  solveCaptchas?: boolean = false
  /** At most one proxy. */
  proxies?: BrowserProxy[]
  /** A folder of unpacked extensions. */
  extensionPath?: string = '/tmp/extensions/'
  /** Switches of the browser. */
  cmdArgs?: string[]
  /** The first page. */
  defaultNavigateUrl?: string
  /** Which browser. */
  browserType?: 'chrome' | 'chromium'

  constructor(options: Partial<BrowserOption> = {}) {
    Object.assign(this, present(options))
    if (this.fingerprintPersistent) this.fingerprintPersistPath = FINGERPRINT_FILE
    if (this.proxies !== undefined && (!Array.isArray(this.proxies) || this.proxies.length > 1)) {
      throw new InvalidArgumentError('`proxies` must be a list of at most one proxy')
    }
    if (this.extensionPath !== undefined && !this.extensionPath.trim()) {
      throw new InvalidArgumentError('`extensionPath` cannot be empty')
    }
    if (this.cmdArgs !== undefined && !Array.isArray(this.cmdArgs)) {
      throw new InvalidArgumentError('`cmdArgs` must be a list')
    }
    if (this.browserType !== undefined && !['chrome', 'chromium'].includes(this.browserType)) {
      throw new InvalidArgumentError(`\`browserType\` is ${this.browserType}; allowed: chrome, chromium`)
    }
  }

  /** Its form on the wire. @example `JSON.stringify(option.toMap())` */
  toMap(): Record<string, unknown> {
    const simulate = process.env.AGB_BROWSER_BEHAVIOR_SIMULATE
    return present<Record<string, unknown>>({
      useStealth: this.useStealth,
      userAgent: this.userAgent,
      viewport: this.viewport,
      screen: this.screen,
      fingerprint: this.fingerprint,
      fingerprintRawData:
        this.fingerprintFormat && Buffer.from(this.fingerprintFormat.toJson()).toString('base64'),
      fingerprintPersistPath: this.fingerprintPersistPath,
      solveCaptchas: this.solveCaptchas,
      proxies: this.proxies?.map((proxy) => proxy.toMap()),
      extensionPath: this.extensionPath,
      cmdArgs: this.cmdArgs,
      defaultNavigateUrl: this.defaultNavigateUrl,
      browserType: this.browserType,
      behaviorSimulate: simulate === undefined ? undefined : simulate !== '0',
    })
  }

  /** Takes what a form on the wire says, and gives itself. @example `new BrowserOptionClass().fromMap({ useStealth: true })` */
  fromMap(m: Record<string, unknown> | null | undefined): BrowserOptionClass {
    const { fingerprintRawData, proxies, ...rest } = objectOf(m)
    const known = Object.keys(new BrowserOptionClass().toMap()).concat(OPTIONAL)
    Object.assign(this, Object.fromEntries(Object.entries(rest).filter(([name]) => known.includes(name))))
    if (typeof fingerprintRawData === 'string') {
      this.fingerprintFormat = FingerprintFormat.fromJson(
        Buffer.from(fingerprintRawData, 'base64').toString(),
      )
    } else if (isObject(fingerprintRawData)) {
      this.fingerprintFormat = FingerprintFormat.fromDict(fingerprintRawData as Partial<FingerprintForm>)
    }
    const listed = listOf(proxies).filter(isObject).map(BrowserProxyClass.fromMap)
    if (listed.length > 0) this.proxies = listed.filter((proxy) => proxy !== null)
    return this
  }
}

const OPTIONAL = [
  'userAgent',
  'viewport',
  'screen',
  'fingerprint',
  'fingerprintPersistPath',
  'cmdArgs',
  'defaultNavigateUrl',
  'browserType',
]
