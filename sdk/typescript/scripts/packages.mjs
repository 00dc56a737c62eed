// Installs the packed package into empty projects, as its users do: ES modules, CommonJS, and Vite. Each is checked by
// TypeScript under its own rules and run; with AGB_ENDPOINT and AGB_API_KEY against that server.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folder = mkdtempSync(join(tmpdir(), 'berth-sdk-packages-'))
const run = (cwd, command, ...args) => {
  try {
    return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    process.stderr.write(`${command} ${args.join(' ')} in ${cwd}\n${error.stdout}${error.stderr}`)
    throw new Error('a project failed')
  }
}

// The releases that the package itself is made with.
const { devDependencies, overrides } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const typescript = `typescript@${devDependencies.typescript}`
const types = `@types/node@${devDependencies['@types/node']}`
const program = (load) => `${load}
async function main(): Promise<void> {
  const key = process.env.AGB_API_KEY ?? 'none'
  const agb = new AGB({ apiKey: key, throwOnError: true, config: { endpoint: process.env.AGB_ENDPOINT ?? 'http://127.0.0.1:9' } })
  const button: string = MouseButton.LEFT
  const sync = AlsoContextSync.new('c-1', '/home/user/data', newSyncPolicy())
  if (!(sync instanceof ContextSync)) throw new Error('not the same module')
  if (button !== 'left' || !(new SessionEndedError() instanceof AGBError)) throw new Error('not the package')
  if (key === 'none') return
  const { session } = await agb.create(new CreateSessionParams({ imageId: 'agb-code-space-1' }))
  const { content }: { content: Buffer } = await session.file.readFile('/etc/hostname', { format: 'bytes' })
  const streamed: string[] = []
  for await (const event of session.code.stream('print(6 * 7)', 'python')) {
    if (event.type === 'stdout') streamed.push(event.text)
  }
  await session.delete()
  if (content.length === 0 || streamed.join('') !== '42\\n') throw new Error('no answer')
}
void main()
`
const names = '{ AGB, AGBError, ContextSync, CreateSessionParams, MouseButton, SessionEndedError }'
const also = '@berth/sdk/context-sync'
const imported = `import ${names} from '@berth/sdk'
import { ContextSync as AlsoContextSync, newSyncPolicy } from '${also}'`
const required = `import sdk = require('@berth/sdk')
import policies = require('${also}')
const ${names} = sdk
const { ContextSync: AlsoContextSync, newSyncPolicy } = policies`
const projects = {
  'ES modules': {
    package: { type: 'module' },
    compiler: { module: 'node16', moduleResolution: 'node16', outDir: 'out' },
    program: program(imported),
    steps: [
      ['npx', 'tsc'],
      ['node', 'out/main.js'],
    ],
  },
  CommonJS: {
    package: { type: 'commonjs' },
    compiler: { module: 'node16', moduleResolution: 'node16', outDir: 'out' },
    program: program(required),
    steps: [
      ['npx', 'tsc'],
      ['node', 'out/main.js'],
    ],
  },
  Vite: {
    package: { type: 'module' },
    compiler: { module: 'esnext', moduleResolution: 'bundler', noEmit: true },
    program: program(imported),
    // Vite wants newer types of Node than the package does.
    more: [`vite@${overrides.vite}`, '@types/node@20.19.43'],
    // Everything in one file, as a server or a function in a cloud gets it.
    config:
      "export default { ssr: { noExternal: true }, build: { ssr: 'main.ts', outDir: 'out', minify: true } }\n",
    steps: [
      ['npx', 'tsc'],
      ['npx', 'vite', 'build', '--logLevel', 'warn'],
      ['node', 'out/main.js'],
    ],
  },
}

try {
  const [packed] = JSON.parse(
    run(root, 'npm', 'pack', '--json', '--ignore-scripts', '--pack-destination', folder),
  )
  for (const file of ['README.md', 'dist/esm/index.d.ts', 'dist/cjs/index.js']) {
    if (!packed.files.some(({ path }) => path === file)) throw new Error(`${file} is not in the package`)
  }
  console.log(`${packed.filename}: ${packed.size} bytes, ${packed.files.length} files`)
  for (const [name, project] of Object.entries(projects)) {
    const place = join(folder, name.replace(' ', '-'))
    mkdirSync(place)
    writeFileSync(join(place, 'package.json'), JSON.stringify({ private: true, ...project.package }))
    const compilerOptions = {
      target: 'es2022',
      strict: true,
      exactOptionalPropertyTypes: true,
      ...project.compiler,
    }
    // The package's own types are checked, too.
    const tsconfig = {
      compilerOptions: { ...compilerOptions, skipLibCheck: false, types: ['node'] },
      files: ['main.ts'],
    }
    writeFileSync(join(place, 'tsconfig.json'), JSON.stringify(tsconfig))
    writeFileSync(join(place, 'main.ts'), project.program)
    if (project.config) writeFileSync(join(place, 'vite.config.js'), project.config)
    const wanted = [join(folder, packed.filename), typescript, ...(project.more ?? [types])]
    run(place, 'npm', 'install', '--silent', '--no-audit', '--no-fund', '--prefer-offline', ...wanted)
    for (const [command, ...args] of project.steps) run(place, command, ...args)
    console.log(`${name}: installed, checked, run`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
