/** Through what the browser of a session goes out. */

import { InvalidArgumentError } from '../errors.js'
import { isObject, type JsonObject, present, textOf } from '../json.js'

/** Whose proxy it is: yours, the server's, or one that the server finds for you. */
export type BrowserProxyType = 'custom' | 'built-in' | 'managed'

/** How the server chooses one of its proxies. */
export type BrowserProxyStrategy = 'restricted' | 'polling' | 'sticky' | 'rotating' | 'matched'

/** A proxy. */
export interface BrowserProxy {
  /** Whose it is. */
  type: BrowserProxyType
  /** Host and port; of `custom` ones. */
  server?: string
  /** For the server; of `custom` ones. */
  username?: string
  /** For the server; of `custom` ones. */
  password?: string
  /** How one is chosen; of the others. */
  strategy?: BrowserProxyStrategy
  /** Of how many; with `polling`. */
  pollsize?: number
  /** For whom; of `managed` ones. */
  userId?: string
  /** Of which provider; of `managed` ones. */
  isp?: string
  /** In which country; of `managed` ones. */
  country?: string
  /** In which province; of `managed` ones. */
  province?: string
  /** In which city; of `managed` ones. */
  city?: string
  /** Its form on the wire. */
  toMap(): Record<string, unknown>
}

const STRATEGIES: Readonly<Record<BrowserProxyType, readonly BrowserProxyStrategy[]>> = {
  custom: [],
  'built-in': ['restricted', 'polling'],
  managed: ['polling', 'sticky', 'rotating', 'matched'],
}

/**
 * A proxy, checked.
 *
 * @example
 * ```ts
 * const proxy = new BrowserProxyClass('custom', '10.0.0.1:3128', 'user', 'password')
 * await session.browser.initialize({ proxies: [proxy] })
 * ```
 */
export class BrowserProxyClass implements BrowserProxy {
  /** Whose it is. */
  type: BrowserProxyType
  /** Host and port. */
  server?: string
  /** For the server. */
  username?: string
  /** For the server. */
  password?: string
  /** How one is chosen. */
  strategy?: BrowserProxyStrategy
  /** Of how many. */
  pollsize?: number
  /** For whom. */
  userId?: string
  /** Of which provider. */
  isp?: string
  /** In which country. */
  country?: string
  /** In which province. */
  province?: string
  /** In which city. */
  city?: string

  constructor(
    proxyType: BrowserProxyType,
    server?: string,
    username?: string,
    password?: string,
    strategy?: BrowserProxyStrategy,
    pollsize?: number,
    userId?: string,
    isp?: string,
    country?: string,
    province?: string,
    city?: string,
  ) {
    this.type = proxyType
    const given = { server, username, password, strategy, pollsize, userId, isp, country, province, city }
    Object.assign(this, present<Partial<BrowserProxyClass>>(given))
    this.#check()
  }

  /** Its form on the wire. @example `proxy.toMap()` */
  toMap(): Record<string, unknown> {
    const { type, server, username, password, strategy, pollsize, userId, isp, country, province, city } =
      this
    const said = (members: Record<string, unknown>): Record<string, unknown> =>
      Object.fromEntries(Object.entries(members).filter(([, value]) => value))
    switch (type) {
      case 'custom':
        return said({ type, server, username, password })
      case 'built-in':
        return said({ type, strategy, pollsize: strategy === 'polling' ? (pollsize ?? 10) : undefined })
      case 'managed':
        return said({ type, strategy, userId, isp, country, province, city })
    }
  }

  /** A proxy out of its form on the wire. @example `BrowserProxyClass.fromMap({ type: 'custom', server: 'host:80' })` */
  static fromMap(m: Record<string, unknown> | null | undefined): BrowserProxyClass | null {
    if (!isObject(m) || Object.keys(m).length === 0) return null
    const text = (name: keyof JsonObject): string | undefined => textOf(m[name]) || undefined
    return new BrowserProxyClass(
      (text('type') ?? '') as BrowserProxyType,
      text('server'),
      text('username'),
      text('password'),
      text('strategy') as BrowserProxyStrategy | undefined,
      typeof m.pollsize === 'number' ? m.pollsize : undefined,
      text('userId') ?? text('user_id'),
      text('isp'),
      text('country'),
      text('province'),
      text('city'),
    )
  }

  /** What may be shown of it: no credentials. @example `JSON.stringify(proxy)` */
  toJSON(): Record<string, unknown> {
    const { username: _username, password: _password, ...rest } = this.toMap()
    return rest
  }

  #check(): void {
    const allowed = STRATEGIES[this.type]
    if (allowed === undefined) {
      throw new InvalidArgumentError(`\`proxyType\` is ${this.type}; allowed: custom, built-in, managed`)
    }
    if (this.type === 'custom') {
      if (!this.server) throw new InvalidArgumentError('`server` is required for a custom proxy')
      return
    }
    if (this.strategy === undefined || !allowed.includes(this.strategy)) {
      throw new InvalidArgumentError(
        `\`strategy\` of a ${this.type} proxy is ${this.strategy}; allowed: ${allowed.join(', ')}`,
      )
    }
    if (this.strategy === 'polling' && this.pollsize !== undefined && !(this.pollsize > 0)) {
      throw new InvalidArgumentError(`\`pollsize\` is ${this.pollsize}; allowed: a number above 0`)
    }
    if (this.type !== 'managed') return
    if (!this.userId) throw new InvalidArgumentError('`userId` is required for a managed proxy')
    if (this.strategy === 'matched' && !(this.isp || this.country || this.province || this.city)) {
      throw new InvalidArgumentError('a `matched` proxy needs `isp`, `country`, `province` or `city`')
    }
  }
}
