// Builds `dist`: ES modules and CommonJS, each with its types.
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')

rmSync(join(root, 'dist'), { recursive: true, force: true })
for (const [folder, type, options] of [
  ['esm', 'module', []],
  [
    'cjs',
    'commonjs',
    ['--module', 'commonjs', '--moduleResolution', 'bundler', '--verbatimModuleSyntax', 'false'],
  ],
]) {
  const out = join(root, 'dist', folder)
  const shared = ['--project', join(root, 'tsconfig.build.json'), '--outDir', out]
  execFileSync(process.execPath, [tsc, ...shared, ...options], { stdio: 'inherit' })
  writeFileSync(join(out, 'package.json'), `${JSON.stringify({ type, sideEffects: false })}\n`)
}
