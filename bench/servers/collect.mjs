// Preloaded into a server whose memory is measured.
process.on('SIGUSR2', () => (globalThis.Bun ? Bun.gc(true) : globalThis.gc()))
