/** Clients and sessions for tests. A session is made once for all tests of a file, and ended after them. */

import { afterAll, beforeAll, inject } from 'vitest'
import { AGB, type CreateSessionParamsOptions, type Session } from '../../src/index.js'

export const IMAGE = 'agb-code-space-1'

export function newAgb(): AGB {
  return new AGB({ apiKey: inject('key'), config: { endpoint: inject('endpoint') } })
}

export function throwingAgb(): AGB<true> {
  return new AGB({ apiKey: inject('key'), config: { endpoint: inject('endpoint') }, throwOnError: true })
}

/** The session of a file, once its tests run. */
export function sharedSession(params: CreateSessionParamsOptions = {}): () => Session {
  let session: Session | undefined
  beforeAll(async () => {
    const { session: made, errorMessage } = await newAgb().create({ imageId: IMAGE, ...params })
    if (!made) throw new Error(errorMessage)
    session = made
  })
  afterAll(async () => {
    await session?.delete()
  })
  return () => {
    if (session === undefined) throw new Error('there is no session outside of a test')
    return session
  }
}
