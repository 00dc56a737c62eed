import { build, defineConfig, type Plugin } from 'vite'

const FIRST = 'src/page/first.ts'

// Two pages: the live view, and the player of recordings, which `berth recording play` serves at `/KEY/play/`.
// The page is served at `<prefix>/view/<ticket>/` and its assets at `<prefix>/view/assets/`, where nobody who
// builds it knows the prefix. So every reference is relative: from the page one folder up, between assets none.
export default defineConfig({
  base: './',
  plugins: [firstScript()],
  build: {
    target: 'es2022',
    // Nothing else may be inlined: the content security policy allows files, and the one script whose hash the server knows.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    rolldownOptions: { input: ['index.html', 'player.html'] },
  },
  experimental: {
    renderBuiltUrl(filename, { hostType }) {
      return hostType === 'html' ? `../${filename}` : { relative: true }
    },
  },
})

/** Writes {@link FIRST} into the place that names it: before the styles, which scripts after them would wait for. */
function firstScript(): Plugin {
  return {
    name: 'first-script',
    transformIndexHtml: {
      order: 'pre',
      async handler(html) {
        const place = `<!-- ${FIRST} -->`
        if (!html.includes(place)) return html
        const built = await build({
          configFile: false,
          logLevel: 'warn',
          build: { target: 'es2022', write: false, lib: { entry: FIRST, formats: ['iife'], name: 'first' } },
        })
        const [output] = Array.isArray(built) ? built : [built]
        const code = output && 'output' in output ? output.output[0].code.trim() : ''
        if (!code || code.includes('</script')) throw new Error(`${FIRST} cannot stand in a page:\n${code}`)
        return html.replace(place, () => `<script>${code}</script>`)
      },
    },
  }
}
