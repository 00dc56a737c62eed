/** Key events for tests. */

import type { KeyInput } from './keyboard.ts'

export type Fields = Partial<Omit<KeyInput, 'getModifierState'>> & { states?: string[] }

export function keyEvent(code: string, key: string, fields: Fields = {}): KeyInput {
  return {
    ...{ code, key, keyCode: 0, repeat: false, isComposing: false, timeStamp: 0 },
    ...{ shiftKey: false, ctrlKey: false, altKey: false, metaKey: false },
    ...fields,
    getModifierState: (name) => fields.states?.includes(name) ?? false,
  }
}
