import { expectTypeOf, it } from 'vitest'
import {
  AGB,
  type BinaryFileContentResult,
  type CodeEvent,
  type CommandResult,
  CreateSessionParams,
  type EnhancedCodeExecutionResult,
  type FileContentResult,
  MouseButton,
  type OperationResult,
  type Outcome,
  type Session,
  type SessionResult,
} from '../../src/index.js'

it('gives results by default, as the official package does', async () => {
  const agb = new AGB()
  expectTypeOf(agb).toEqualTypeOf<AGB<false>>()
  expectTypeOf(new AGB('key')).toEqualTypeOf<AGB<false>>()
  const created = await agb.create(new CreateSessionParams({ imageId: 'i' }))
  expectTypeOf(created).toEqualTypeOf<SessionResult>()
  expectTypeOf(created.session).toEqualTypeOf<Session | null | undefined>()
  expectTypeOf(created.success).toEqualTypeOf<boolean>()
})

it('knows with throwOnError that there is what was asked for', async () => {
  const agb = new AGB({ throwOnError: true })
  expectTypeOf(agb).toEqualTypeOf<AGB<true>>()
  const { session, success } = await agb.create({ imageId: 'i' })
  expectTypeOf(success).toEqualTypeOf<true>()
  expectTypeOf(session).toEqualTypeOf<Session<true>>()
  expectTypeOf((await session.getMetrics()).metrics.cpuCount).toEqualTypeOf<number>()
  expectTypeOf((await session.file.getFileInfo('/')).fileInfo.size).toEqualTypeOf<number>()
  expectTypeOf((await agb.context.create('a')).context.id).toEqualTypeOf<string>()
  const either = new AGB({ throwOnError: Boolean(process.env.CI) })
  expectTypeOf(await either.get('s')).toExtend<SessionResult<boolean>>()
})

it('has no any', () => {
  type Member<K extends keyof Session> = Session[K] extends (...args: never[]) => Promise<infer R> ? R : never
  expectTypeOf<Member<'info'>>().toEqualTypeOf<OperationResult>()
  expectTypeOf<OperationResult['data']>().toBeUnknown()
  expectTypeOf<Parameters<Session['callMcpTool']>[1]>().toEqualTypeOf<Record<string, unknown>>()
  expectTypeOf<EnhancedCodeExecutionResult['results'][number]['json']>().toBeUnknown()
})

it('has the signatures of the official package', () => {
  type S = Session
  expectTypeOf<S['command']['execute']>().toBeCallableWith('c')
  expectTypeOf<S['command']['execute']>().toBeCallableWith('c', 5, '/tmp', { A: 'b' })
  expectTypeOf<S['command']['execute']>().returns.resolves.toEqualTypeOf<CommandResult>()
  expectTypeOf<S['code']['run']>().toBeCallableWith('c', 'python', 60, {
    streamBeta: true,
    onStdout: () => {},
  })
  expectTypeOf<S['getMetrics']>().toBeCallableWith(1000, 1000)
  expectTypeOf<S['delete']>().toBeCallableWith(true)
  expectTypeOf<S['context']['sync']>().toBeCallableWith('c', '/p', 'upload', 10, 100, () => {})
  expectTypeOf<S['computer']['mouse']['click']>().toBeCallableWith(1, 2, MouseButton.LEFT)
  expectTypeOf<S['computer']['mouse']['click']>().toBeCallableWith(1, 2, 'double_left')
  expectTypeOf<S['fileSystem']>().toEqualTypeOf<S['file']>()
})

it('tells text from bytes', async () => {
  const { file } = {} as Session
  expectTypeOf(file.readFile('/a')).resolves.toEqualTypeOf<FileContentResult>()
  expectTypeOf(file.read('/a', { format: 'bytes' })).resolves.toEqualTypeOf<BinaryFileContentResult>()
})

it('narrows events of a stream', () => {
  const event = {} as CodeEvent
  if (event.type === 'stdout') expectTypeOf(event.text).toEqualTypeOf<string>()
  if (event.type === 'end') expectTypeOf(event.result).toEqualTypeOf<EnhancedCodeExecutionResult>()
  expectTypeOf<Outcome<CommandResult, true>['success']>().toEqualTypeOf<true>()
})
