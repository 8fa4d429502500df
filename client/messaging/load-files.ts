/** All that only those need who send, get or share files; browsers load it as a file of its own. Rejects as the platform does. */
export function loadFiles(): Promise<typeof import('./files.ts')> {
  return import('./files.ts')
}
