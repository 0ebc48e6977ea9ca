import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// In development the page comes from Vite and everything else from a running Hob.
const target = process.env.HOB_URL ?? 'http://127.0.0.1:7070';
const toHob = { target, changeOrigin: true };

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // A strict content security policy forbids `data:` addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  // The worker that all tabs share is one file; every browser that has shared workers has modules in them.
  worker: { format: 'es' },
  server: {
    proxy: {
      '/v1': { ...toHob, ws: true },
      '/openapi.json': toHob,
      '/errors': toHob,
    },
  },
});
