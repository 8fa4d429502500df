/**
 * Control characters (C0 but tab and line feed, DEL, C1) as their codes, `\x1b`: what a client sends must not move the
 * cursor of a terminal, or say who typed it.
 */
export function visible(text: string): string {
  return text.replace(/(?![\t\n])\p{Cc}/gu, character => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
