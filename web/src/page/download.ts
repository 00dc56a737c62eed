/** Gives the viewer something as a file. */

/** Browsers read a blob's URL soon after the click, but not at once. */
const KEPT_MS = 60_000

export function download(blob: Blob, name: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS)
}
