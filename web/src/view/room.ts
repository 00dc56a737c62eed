/**
 * Who looks at the session, who controls it, and what this viewer may do. Pure.
 *
 * In: the JSON of a state message; out: a {@link Room}, or `null` if it is none. `null` in place of a room stands for a
 * session of an earlier release, which tells nothing: whoever looks may act, and nothing else is offered.
 */

import type { Size } from './geometry.ts'

export const RIGHTS = ['view', 'control', 'clipboard-in', 'clipboard-out', 'files'] as const
export type Right = (typeof RIGHTS)[number]

export interface Viewer {
  readonly id: number
  /** Empty: it gave none. */
  readonly name: string
  /** Has the right to control. */
  readonly control: boolean
  /** Since when it looks, in Unix milliseconds. */
  readonly sinceMs: number
}

export interface Room {
  /** This viewer's id. */
  readonly you: number
  readonly rights: ReadonlySet<Right>
  /** Who controls. */
  readonly holder: number | null
  /** Who has asked for control, in this order. */
  readonly asked: readonly number[]
  /** The agent's mouse and keyboard are refused until they are given back. */
  readonly takenOver: boolean
  readonly resizable: boolean
  readonly maxSize: Size
  /** The session has sound to offer. */
  readonly sound: boolean
  readonly viewers: readonly Viewer[]
}

/** Why nothing that this viewer does reaches the session. */
export type Obstacle = { kind: 'watching' } | { kind: 'held'; by: number }

/** What is kept of a list, and of a name; more is no room of people. */
const VIEWERS_MAX = 200
const NAME_CHARACTERS_MAX = 60

export function parseRoom(you: number, body: unknown): Room | null {
  if (typeof body !== 'object' || body === null) return null
  const fields = body as Record<string, unknown>
  const { rights, viewers } = fields
  if (!Array.isArray(rights) || !Array.isArray(viewers)) return null
  return {
    you,
    rights: new Set(RIGHTS.filter((right) => rights.includes(right))),
    holder: id(fields.holder),
    asked: list(fields.asked, id),
    takenOver: fields.takenOver === true,
    resizable: fields.resizable === true,
    maxSize: { width: side(fields.maxWidth), height: side(fields.maxHeight) },
    sound: fields.sound === true,
    viewers: list(viewers, viewer),
  }
}

export function may(room: Room | null, right: Right): boolean {
  return room?.rights.has(right) ?? false
}

export function holds(room: Room | null): boolean {
  return room !== null && room.holder === room.you
}

/** `null`: what this viewer does is taken. */
export function obstacle(room: Room | null): Obstacle | null {
  if (!room) return null
  if (!room.rights.has('control')) return { kind: 'watching' }
  if (room.holder === null || room.holder === room.you) return null
  return { kind: 'held', by: room.holder }
}

export function mayResize(room: Room | null): boolean {
  return room?.resizable === true && obstacle(room) === null
}

/** Whom the holder is to answer: those who still look and may control, first come first. */
export function asking(room: Room | null): readonly Viewer[] {
  if (!room || !holds(room)) return []
  const known = room.asked.map((id) => room.viewers.find((viewer) => viewer.id === id))
  return known.filter((viewer) => viewer?.control === true && viewer.id !== room.you) as Viewer[]
}

export function nameOf(room: Room | null, id: number): string {
  return room?.viewers.find((viewer) => viewer.id === id)?.name || `Viewer ${id}`
}

function viewer(value: unknown): Viewer | null {
  if (typeof value !== 'object' || value === null) return null
  const fields = value as Record<string, unknown>
  const known = id(fields.id)
  if (known === null) return null
  return {
    id: known,
    name: typeof fields.name === 'string' ? plainName(fields.name) : '',
    control: fields.control === true,
    sinceMs: typeof fields.since === 'number' && Number.isFinite(fields.since) ? fields.since : 0,
  }
}

/** A name on one line, without the characters that turn the direction of what stands beside it. */
function plainName(name: string): string {
  return [...name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim()].slice(0, NAME_CHARACTERS_MAX).join('')
}

function id(value: unknown): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 0xffffffff
    ? value
    : null
}

function side(value: unknown): number {
  return typeof value === 'number' && value > 0 ? Math.min(0xffff, Math.floor(value)) : 0
}

function list<T>(value: unknown, read: (item: unknown) => T | null): T[] {
  if (!Array.isArray(value)) return []
  return value.slice(0, VIEWERS_MAX).flatMap((item) => read(item) ?? [])
}
