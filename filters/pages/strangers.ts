/** The Content-Security-Policy of what strangers may have put there: it is shown, and runs nothing in this server's name. */
export const STRANGERS_CSP = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"

/** What the filter `media` calls an upload: `20261121_170312_482-3f9a1c2e.png`. */
const UPLOAD = /^\d{8}_\d{6}_\d{3}-[0-9a-f]{8}\.[a-z0-9]{1,8}$/

/** Whether a file came from a stranger, as its name tells: the folder of uploads may lie within the root. */
export function isUpload(name: string): boolean {
  return UPLOAD.test(name)
}
