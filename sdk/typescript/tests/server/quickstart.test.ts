/** The quickstart, and the package as its users install it, against a real server. */

import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, inject, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

it('runs as the README says', { timeout: 120_000 }, () => {
  const examples = join(root, '../../examples')
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, {
      cwd: examples,
      env: { ...process.env, AGB_ENDPOINT: inject('endpoint'), AGB_API_KEY: inject('key') },
      encoding: 'utf8',
    })
  run('npm', 'ci', '--silent', '--no-audit', '--no-fund', '--prefer-offline')
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
  const types = join(root, 'node_modules/@types')
  const flags = ['--module', 'nodenext', '--target', 'es2022', '--strict', '--noEmit', '--ignoreConfig']
  run(process.execPath, tsc, ...flags, '--typeRoots', types, '--types', 'node', 'quickstart.ts')
  const said = run('npm', 'run', '--silent', 'quickstart')
  expect(said).toMatch(/^live {10}"0\\n" "1\\n" "2\\n" $/m)
  expect(said).toMatch(/^recovered {5}true$/m)
  expect(said).toMatch(/^listed {8}true$/m)
  expect(said).toMatch(/^live view {5}http\S+resourceId=/m)
  expect(said).toContain('it was released by its owner')
})

it('installs from its tarball into empty projects', { timeout: 300_000 }, () => {
  const env = { ...process.env, AGB_ENDPOINT: inject('endpoint'), AGB_API_KEY: inject('key') }
  const said = execFileSync(process.execPath, [join(root, 'scripts/packages.mjs')], { env, encoding: 'utf8' })
  for (const project of ['ES modules', 'CommonJS', 'Vite']) {
    expect(said).toContain(`${project}: installed, checked, run`)
  }
})
