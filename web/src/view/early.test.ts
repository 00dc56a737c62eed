import { expect, test } from 'vitest'
import { EarlySocket } from './early.ts'

class FakeSocket extends EventTarget {
  binaryType = ''

  says(text: string): void {
    this.dispatchEvent(new MessageEvent('message', { data: text }))
  }
}

function opens(socket: FakeSocket): EarlySocket {
  return new EarlySocket({ socket: socket as unknown as WebSocket, hello: new Uint8Array(7) })
}

function listen(socket: EventTarget): string[] {
  const heard: string[] = []
  for (const kind of ['open', 'message', 'close']) {
    socket.addEventListener(kind, (event) => heard.push(event instanceof MessageEvent ? event.data : kind))
  }
  return heard
}

test('who takes the socket hears everything once and in order, whenever it happened', async () => {
  const socket = new FakeSocket()
  const early = opens(socket)
  expect(socket.binaryType).toBe('arraybuffer')
  socket.dispatchEvent(new Event('open'))
  socket.says('first')
  socket.says('second')

  expect(early.take()?.socket).toBe(socket)
  const heard = listen(socket)
  await Promise.resolve()
  socket.says('third')
  socket.dispatchEvent(new Event('close'))
  expect(heard).toEqual(['open', 'first', 'second', 'third', 'close'])
})

test('a socket that closed before it was taken says so', async () => {
  const socket = new FakeSocket()
  const early = opens(socket)
  socket.dispatchEvent(new Event('close'))
  const taken = early.take()?.socket
  if (!taken) throw new Error('there is none to take')
  const heard = listen(taken)
  await Promise.resolve()
  expect(heard).toEqual(['close'])
})

test('it is there for one', () => {
  const early = opens(new FakeSocket())
  expect(early.take()).not.toBeNull()
  expect(early.take()).toBeNull()
})
