/** What this browser remembers for this server. Where it may not, everything is as on the first day. */

const PREFIX = 'berth-view-'

export function remembered(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name)
  } catch {
    return null
  }
}

export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + name, value)
  } catch {
    // Storage is full, or forbidden: it is forgotten with the page.
  }
}
