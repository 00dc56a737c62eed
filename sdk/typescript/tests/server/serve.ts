/** Starts a real server for the tests, with a data folder of its own, and ends it with all that it ran. */

import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    endpoint: string
    key: string
  }
}

export default async function serve(project: TestProject): Promise<() => void> {
  const { BERTH_BIN, BERTH_IMAGES = '/var/lib/berth/images' } = process.env
  if (!BERTH_BIN) throw new Error('set BERTH_BIN to the folder of the built `berth`; `make e2e` does')
  const berth = join(resolve(BERTH_BIN), 'berth')
  const data = mkdtempSync(join(tmpdir(), 'berth-sdk-'))
  const log = join(data, 'server.log')
  const flags = ['--listen', '127.0.0.1:0', '--data', data, '--images', BERTH_IMAGES, '--pool', '2']
  const server = spawn(berth, ['serve', ...flags], {
    stdio: ['ignore', 'pipe', openSync(log, 'a')],
    detached: true,
  })
  const exited = new Promise<void>((done) => server.once('exit', () => done()))
  const said = createInterface({ input: server.stdout as Readable })
  const line = await Promise.race([
    new Promise<string>((done) => said.once('line', done)),
    exited.then(() => {
      throw new Error(`the server did not start:\n${readFileSync(log, 'utf8').slice(-3000)}`)
    }),
  ])
  const key = execFileSync(berth, ['key', 'create', '--data', data, 'sdk'], { encoding: 'utf8' }).trim()
  project.provide('endpoint', line.split(' ').at(-1) ?? '')
  project.provide('key', key)
  return async () => {
    execFileSync(berth, ['stop', '--data', data, '--end-sessions'], { stdio: 'pipe' })
    await exited
    rmSync(data, { recursive: true })
  }
}
