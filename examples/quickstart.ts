// A first session: code with rich results and live output, shell, files, tools, and a live view.
//
// Needs AGB_ENDPOINT and AGB_API_KEY in the environment or in `.env` (`make up` writes both there). With --keep the session
// stays for its idle time, so that its live view can be opened; otherwise it is deleted at the end.

import { AGB, CreateSessionParams } from '@berth/sdk'

const agb = new AGB()

const created = await agb.create(
  new CreateSessionParams({ imageId: 'agb-code-space-1', labels: { example: 'quickstart' } }),
)
if (!created.session) throw new Error(`could not create a session: ${created.errorMessage}`)
const session = created.session
console.log('session      ', session.getSessionId())
console.log('link         ', session.linkUrl)
console.log('stream       ', session.wsUrl)

// Code. Variables stay; the last expression, tables and figures come back as results.
await session.code.run(
  "import pandas as pd\nsales = pd.DataFrame({'city': ['Oslo', 'Lima'], 'units': [12, 30]})",
  'python',
)
let run = await session.code.run("print(sales.units.sum(), 'units')\nsales", 'python')
console.log('stdout       ', run.logs.stdout)
console.log('table        ', run.results[0]?.html?.length, 'characters of HTML')

run = await session.code.run('import matplotlib.pyplot as plt\nplt.bar(sales.city, sales.units);', 'python')
console.log('figure       ', run.results.find((result) => result.png)?.png?.length, 'characters of PNG in base64')

// Live output, while the code runs.
process.stdout.write('live          ')
const slow = 'import time\nfor n in range(3):\n    print(n, flush=True)\n    time.sleep(0.3)'
for await (const event of session.code.stream(slow, 'python')) {
  if (event.type === 'stdout') process.stdout.write(`${JSON.stringify(event.text)} `)
}
console.log()

// Shell and files.
console.log('shell        ', (await session.command.execute('uname -sr && whoami')).output.split('\n'))
await session.file.writeFile('/home/user/hello.txt', 'Grüße aus Berth\n')
console.log('file         ', JSON.stringify((await session.file.readFile('/home/user/hello.txt')).content))

// Tools, by name.
console.log('tools        ', (await session.listMcpTools()).tools.map((tool) => tool.name).join(', '))
console.log('tool call    ', (await session.callMcpTool('shell', { command: 'echo called' })).data)

// Recover it by its id, as another program would.
const same = (await agb.get(session.getSessionId())).session
console.log('recovered    ', same?.getSessionId() === session.getSessionId() && same.token === session.token)
const listed = await agb.list({ example: 'quickstart' })
console.log('listed       ', listed.sessionIds.includes(session.getSessionId()))

const { data: info } = await session.info()
console.log('live view    ', (info as { resourceUrl: string }).resourceUrl)
if (!process.argv.includes('--keep')) {
  await agb.delete(session)
  console.log('deleted      ', (await agb.get(session.getSessionId())).errorMessage)
}
