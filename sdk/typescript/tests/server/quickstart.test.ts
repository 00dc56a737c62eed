/** The quickstart, and the package as its users install it, against a real server. */

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, inject, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

it('runs as it stands', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-sdk-quickstart-'))
  try {
    mkdirSync(join(folder, 'node_modules/@berth'), { recursive: true })
    symlinkSync(root, join(folder, 'node_modules/@berth/sdk'))
    symlinkSync(join(root, 'node_modules/@types'), join(folder, 'node_modules/@types'))
    const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
    // In a file of its own, so that the package is found from where it is installed.
    const source = join(folder, 'quickstart.mts')
    execFileSync('cp', [join(root, '../../examples/quickstart.ts'), source])
    const flags = [
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--strict',
      '--types',
      'node',
      '--ignoreConfig',
    ]
    execFileSync(process.execPath, [tsc, ...flags, source], { cwd: folder, stdio: 'inherit' })
    const env = { ...process.env, AGB_ENDPOINT: inject('endpoint'), AGB_API_KEY: inject('key') }
    const said = execFileSync(process.execPath, [join(folder, 'quickstart.mjs')], {
      cwd: folder,
      env,
      encoding: 'utf8',
    })
    expect(said).toMatch(/^live {10}"0\\n" "1\\n" "2\\n" $/m)
    expect(said).toMatch(/^recovered {5}true$/m)
    expect(said).toMatch(/^listed {8}true$/m)
    expect(said).toMatch(/^live view {5}http\S+resourceId=/m)
    expect(said).toContain('it was released by its owner')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('installs from its tarball into empty projects', { timeout: 300_000 }, () => {
  const env = { ...process.env, AGB_ENDPOINT: inject('endpoint'), AGB_API_KEY: inject('key') }
  const said = execFileSync(process.execPath, [join(root, 'scripts/packages.mjs')], { env, encoding: 'utf8' })
  for (const project of ['ES modules', 'CommonJS', 'Vite']) {
    expect(said).toContain(`${project}: installed, checked, run`)
  }
})
