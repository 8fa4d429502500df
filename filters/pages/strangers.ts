/** The Content-Security-Policy of what strangers may have put there: it is shown, and runs nothing in this server's name. */
export const STRANGERS_CSP = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
