/**
 * Replaces control characters (C0 except tab and line feed, DEL, C1) by codes such as `\x1b`, so that text of a client cannot
 * control a terminal.
 */
export function visible(text: string): string {
  return text.replace(/(?![\t\n])\p{Cc}/gu, character => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
