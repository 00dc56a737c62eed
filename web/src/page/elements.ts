/** The page's elements by id. The markup is ours: one that is missing is a mistake in it, and said so. */
export function element<E extends Element>(id: string, type: new () => E): E {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} with the id ${id}`)
  return found
}
