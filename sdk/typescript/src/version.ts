/** The version of this package. A unit test holds it to `package.json`. */
export const VERSION = '0.1.0'

/**
 * The version of this package.
 *
 * @example
 * ```ts
 * console.log(getSdkVersion())
 * ```
 */
export function getSdkVersion(): string {
  return VERSION
}

/**
 * Whether this is a released version, as opposed to one such as `1.0.0-rc.1`.
 *
 * @example
 * ```ts
 * if (!isReleaseVersion()) console.warn('a preview')
 * ```
 */
export function isReleaseVersion(): boolean {
  return !getSdkVersion().includes('-')
}
