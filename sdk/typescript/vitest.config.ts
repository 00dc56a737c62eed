import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['tests/unit/*.test.ts'],
          typecheck: { enabled: true, include: ['tests/types/*.test-d.ts'], ignoreSourceErrors: true },
        },
      },
      {
        test: {
          name: 'server',
          include: ['tests/server/*.test.ts'],
          globalSetup: 'tests/server/serve.ts',
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
