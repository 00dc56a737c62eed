import { defineConfig } from 'vitest/config'

// Apart from `vite.config.ts`: the page's build knows nothing of tests. The library in `src/view` needs no browser.
export default defineConfig({
  test: { include: ['src/**/*.test.ts'], environment: 'node', restoreMocks: true },
})
