// The half of `bench/sdk.py` that runs in Node: reads rounds from standard input, answers each with its times.
import { createInterface } from 'node:readline'
import { AGB } from '../sdk/typescript/dist/esm/index.js'

const agb = new AGB({ throwOnError: true })
const { session } = await agb.get(process.env.BENCH_SESSION)

async function call() {
  const start = performance.now()
  await session.command.execute('true')
  return performance.now() - start
}

console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  const { calls, inFlight } = JSON.parse(line)
  const times = []
  let left = calls
  const start = performance.now()
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (left-- > 0) times.push(await call())
    }),
  )
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, times }))
}
await agb.client.close()
