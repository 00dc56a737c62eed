/** What is exported is shown in use. That all of it is described is checked by TypeDoc itself, in `npm run check`. */

import { fileURLToPath } from 'node:url'
import { Application, type DeclarationReflection, ReflectionKind } from 'typedoc'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

it('every class, method, function and enum has an example', { timeout: 60_000 }, async () => {
  const app = await Application.bootstrap({
    options: root,
    entryPoints: [`${root}src/index.ts`],
    tsconfig: `${root}tsconfig.json`,
    excludePrivate: true,
    excludeProtected: true,
    excludeInternal: true,
    logLevel: 'Error',
  })
  const project = await app.convert()
  if (project === undefined) throw new Error('the sources could not be read')
  const isShown = (item: DeclarationReflection): boolean => {
    const comments = [item.comment, ...(item.signatures ?? []).map((signature) => signature.comment)]
    return comments.some((comment) => comment?.blockTags.some(({ tag }) => tag === '@example'))
  }
  const { Class, Enum, Function: Func, Interface, Method } = ReflectionKind
  const missing = project
    .getReflectionsByKind(Class | Enum | Func | Method)
    .map((item) => item as DeclarationReflection)
    // Shapes are shown where they are taken and given.
    .filter((item) => item.inheritedFrom === undefined && !item.parent?.kindOf(Interface) && !isShown(item))
    .map((item) => item.getFullName())
  expect(missing).toEqual([])
})
