/**
 * Files of the session: brought by dropping them on the page, fetched from the panel.
 *
 * They travel beside the live connection, as requests relative to the page, one after the other.
 */

import { messageOf, parseFiles, type SharedFile, sizeInWords } from '../view/files.ts'
import { element, make, makeButton } from './elements.ts'

/** Lines of finished uploads that stay. */
const FINISHED_MAX = 8

export class Files {
  readonly button = element('toolbar-files', HTMLButtonElement)
  readonly panel = element('files', HTMLElement)
  readonly #uploads = element('files-uploads', HTMLElement)
  readonly #list = element('files-list', HTMLElement)
  readonly #note = element('files-note', HTMLElement)
  readonly #picker = element('files-picker', HTMLInputElement)
  readonly #show: () => void
  #allowed = false
  #queue: Promise<void> = Promise.resolve()
  #loading: AbortController | null = null

  /** `show` opens the panel. */
  constructor(show: () => void) {
    this.#show = show
    element('files-send', HTMLButtonElement).addEventListener('click', () => this.#picker.click())
    this.#picker.addEventListener('change', () => {
      for (const file of this.#picker.files ?? []) this.#upload(file)
      this.#picker.value = ''
    })
    this.#attachDrop()
  }

  allow(allowed: boolean): void {
    this.#allowed = allowed
    this.button.hidden = !allowed
  }

  /** Fetches the list anew. */
  async refresh(): Promise<void> {
    this.#loading?.abort()
    const loading = new AbortController()
    this.#loading = loading
    if (this.#list.childElementCount === 0) this.#note.textContent = 'Looking…'
    try {
      const response = await fetch('./files', { cache: 'no-store', signal: loading.signal })
      const text = await response.text()
      const files = response.ok ? parseFiles(JSON.parse(text)) : null
      if (files) this.#list.replaceChildren(...files.map(row))
      this.#note.textContent = files
        ? files.length === 0
          ? 'No files yet. Drop some anywhere on the page.'
          : ''
        : messageOf(text, 'The files cannot be listed.')
    } catch {
      if (!loading.signal.aborted) this.#note.textContent = 'The server cannot be reached.'
    }
  }

  #attachDrop(): void {
    const zone = element('drop', HTMLElement)
    const carriesFiles = (event: DragEvent) =>
      this.#allowed && event.dataTransfer?.types.includes('Files') === true
    const over = (event: DragEvent) => {
      if (!carriesFiles(event)) return
      event.preventDefault()
      if (event.dataTransfer) event.dataTransfer.dropEffect = 'copy'
      zone.hidden = false
    }
    window.addEventListener('dragenter', over)
    window.addEventListener('dragover', over)
    window.addEventListener('dragleave', (event) => {
      if (event.relatedTarget === null) zone.hidden = true
    })
    window.addEventListener('drop', (event) => {
      zone.hidden = true
      // Not even without the right may a browser leave the page for a file that was dropped on it.
      if (event.dataTransfer?.types.includes('Files')) event.preventDefault()
      if (!carriesFiles(event)) return
      this.#show()
      for (const file of event.dataTransfer?.files ?? []) this.#upload(file)
    })
  }

  #upload(file: File): void {
    const line = new UploadLine(file)
    this.#uploads.prepend(line.element)
    while (this.#uploads.querySelectorAll('[data-over]').length > FINISHED_MAX) {
      const finished = this.#uploads.querySelectorAll('[data-over]')
      finished[finished.length - 1]?.remove()
    }
    this.#queue = this.#queue.then(async () => {
      await line.send()
      await this.refresh()
    })
  }
}

/** One file on its way. */
class UploadLine {
  readonly element = make('li', 'upload')
  readonly #file: File
  readonly #state: HTMLElement = make('span', 'file-size', 'waits')
  readonly #bar = make('progress', 'upload-bar')
  readonly #request = new XMLHttpRequest()
  #given = false

  constructor(file: File) {
    this.#file = file
    this.#bar.max = 1
    this.#bar.value = 0
    this.#bar.setAttribute('aria-label', `Sending ${file.name}`)
    const stop = makeButton('Stop', () => this.#stop(), 'button upload-stop')
    this.element.append(make('span', 'file-name', file.name), this.#state, stop, this.#bar)
  }

  /** Resolves when it is over, however. */
  async send(): Promise<void> {
    if (this.#given) return
    const outcome = await new Promise<string>((resolve) => {
      // Not `fetch`, which tells of no progress.
      const request = this.#request
      request.open('PUT', `./files?name=${encodeURIComponent(this.#file.name)}`)
      request.setRequestHeader('content-type', 'application/octet-stream')
      request.upload.onprogress = ({ loaded, total }) => {
        this.#bar.value = total > 0 ? loaded / total : 0
        this.#state.textContent = `${Math.round(this.#bar.value * 100)} %`
      }
      request.onload = () => {
        const accepted = request.status >= 200 && request.status < 300
        resolve(accepted ? '' : messageOf(request.responseText, `The server refused it (${request.status}).`))
      }
      request.onerror = () => resolve('The connection was lost, or the file changed or is a folder.')
      request.onabort = () => resolve('Stopped.')
      request.send(this.#file)
    })
    this.#finish(outcome)
  }

  #stop(): void {
    if (this.#request.readyState !== XMLHttpRequest.UNSENT) this.#request.abort()
    else this.#finish('Stopped.')
  }

  #finish(error: string): void {
    this.#given = true
    this.element.toggleAttribute('data-over', true)
    this.element.toggleAttribute('data-failed', error !== '')
    this.#state.textContent = error === '' ? `${sizeInWords(this.#file.size)}, sent` : error
  }
}

function row(file: SharedFile): HTMLElement {
  const item = make('li', 'file')
  const link = make('a', 'file-name', file.name)
  link.href = `./files?path=${encodeURIComponent(file.path)}`
  link.download = file.name
  link.title = file.path
  const when = file.modifiedMs === null ? '' : new Date(file.modifiedMs).toLocaleString()
  const size = make('span', 'file-size', sizeInWords(file.bytes))
  size.title = when
  item.append(link, make('span', 'file-folder', file.folder), size)
  return item
}
