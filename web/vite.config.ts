import { defineConfig } from 'vite'

// Two pages: the live view, and the player of recordings, which `berth recording play` serves at `/KEY/play/`.
// The page is served at `<prefix>/view/<ticket>/` and its assets at `<prefix>/view/assets/`, where nobody who
// builds it knows the prefix. So every reference is relative: from the page one folder up, between assets none.
export default defineConfig({
  base: './',
  build: {
    target: 'es2022',
    // Nothing may be inlined into the page's scripts or styles: the content security policy allows files only.
    assetsInlineLimit: 0,
    modulePreload: false,
    sourcemap: false,
    rolldownOptions: { input: ['index.html', 'player.html'] },
  },
  experimental: {
    renderBuiltUrl(filename, { hostType }) {
      return hostType === 'html' ? `../${filename}` : { relative: true }
    },
  },
})
