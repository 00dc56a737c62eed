/** The page's elements: those of the markup by id, and new ones. Text goes into them as text only. */

/** An element of the markup. The markup is ours: one that is missing is a mistake in it, and said so. */
export function element<E extends Element>(id: string, type: new () => E): E {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} with the id ${id}`)
  return found
}

/** A new element with a class and text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  text = '',
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  made.className = className
  if (text !== '') made.textContent = text
  return made
}

/** A new button with words on it. */
export function makeButton(text: string, act: () => void, className = 'button'): HTMLButtonElement {
  const button = make('button', className, text)
  button.type = 'button'
  button.addEventListener('click', act)
  return button
}

/** Gives a button with an icon its name, and its icon if it changes. */
export function label(button: HTMLButtonElement, text: string, icon?: string): void {
  button.title = text
  button.setAttribute('aria-label', text)
  if (icon) button.querySelector('use')?.setAttribute('href', icon)
}
