// Loaded into a server of which the memory is measured.
process.on('SIGUSR2', () => (globalThis.Bun ? Bun.gc(true) : globalThis.gc()))
