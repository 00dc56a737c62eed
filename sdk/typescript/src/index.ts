/**
 * The TypeScript SDK of Berth: sessions, code, shell, files and desktops for AI agents.
 *
 * @packageDocumentation
 */

export { AGB, type AGBOptions } from './agb.js'
export * from './browser/agent.js'
export { Browser } from './browser/browser.js'
export {
  type Brand,
  BrowserFingerprintContext,
  type ExtraProperties,
  type Fingerprint,
  type FingerprintForm,
  FingerprintFormat,
  type NavigatorFingerprint,
  type ScreenFingerprint,
  type UserAgentData,
  type VideoCard,
} from './browser/fingerprint.js'
export { BrowserFingerprintGenerator, type FingerprintPage } from './browser/fingerprint-generator.js'
export {
  type BrowserFingerprint,
  type BrowserOption,
  BrowserOptionClass,
  type BrowserScreen,
  type BrowserViewport,
} from './browser/option.js'
export {
  type BrowserProxy,
  BrowserProxyClass,
  type BrowserProxyStrategy,
  type BrowserProxyType,
} from './browser/proxy.js'
export { type ApiAnswer, Client, type ClientOptions, type Parameters } from './client.js'
export { Code, type CodeEvent, type RunOptions, type StreamOptions } from './code.js'
export { Command } from './command.js'
export { ApplicationManager } from './computer/app.js'
export { Computer } from './computer/computer.js'
export { KeyboardController } from './computer/keyboard.js'
export { MouseButton, MouseController, ScrollDirection } from './computer/mouse.js'
export type * from './computer/result.js'
export { ScreenController } from './computer/screen.js'
export { WindowManager } from './computer/window.js'
export { type Config, type ConfigOptions, defaultConfig, loadConfig } from './config.js'
export type * from './context/result.js'
export { Context, ContextService } from './context/service.js'
export { ContextManager } from './context/session-context.js'
export {
  AGBError,
  APIError,
  ApplicationError,
  AuthenticationError,
  BrowserError,
  ClearanceTimeoutError,
  CodeError,
  CommandError,
  ConnectionError,
  type EndReason,
  FileError,
  InvalidArgumentError,
  NoCapacityError,
  RateLimitError,
  ScreenError,
  SessionEndedError,
  SessionError,
  SessionNotFoundError,
  TimeoutError,
  ToolError,
} from './errors.js'
export { type AGBLikeForExtensions, Extension, ExtensionOption, ExtensionsService } from './extensions.js'
export type * from './file-results.js'
export { FileSystem, type Watching } from './file-system.js'
export type { DownloadOptions, UploadOptions } from './file-transfer.js'
export { HTTPClient, type HttpAnswer, type RequestOptions } from './http.js'
export { getLogLevel, LogLevel, logDebug, logError, logInfo, logWarn, setLogLevel } from './log.js'
export type { CallOptions } from './options.js'
export type { Gained, Outcome, Settled, Succeeded } from './outcome.js'
export type * from './results.js'
export { BaseService } from './service.js'
export { Session, type SessionInfo } from './session.js'
export { BrowserContext, CreateSessionParams, type CreateSessionParamsOptions } from './session-params.js'
export * from './sync-policy.js'
export type { SessionLike } from './tool-call.js'
export { getSdkVersion, isReleaseVersion, VERSION } from './version.js'
