import { stripVTControlCharacters } from 'node:util'
import stringWidth from 'string-width'

/** Its own background suits light and dark pages. */
const [BACKGROUND, BORDER, TEXT, RED] = ['#161b22', '#30363d', '#c9d1d9', '#ff7b72']
const [CHARACTER, LINE, MARGIN] = [7.8, 18, 16]
/** SGR sequences of styles, and the attributes that they mean. */
const STYLES: Readonly<Record<string, string>> = { 1: 'font-weight="bold" fill="#fff"', 31: `fill="${RED}"` }

/** Lines of a terminal, with bold and red text, as an SVG. */
export function terminalPicture(lines: readonly string[], title: string): string {
  const columns = Math.max(...lines.map(line => stringWidth(stripVTControlCharacters(line))))
  const width = Math.ceil(columns * CHARACTER + 2 * MARGIN)
  const height = lines.length * LINE + 2 * MARGIN
  const texts = lines.flatMap((line, i) => {
    const y = MARGIN + (i + 0.75) * LINE
    return line === '' ? [] : [`<text x="${MARGIN}" y="${y}" xml:space="preserve">${spansOf(line)}</text>`]
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escaped(title)}</title>
<rect x=".5" y=".5" width="${width - 1}" height="${height - 1}" rx="8" fill="${BACKGROUND}" stroke="${BORDER}"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13" fill="${TEXT}">
${texts.join('\n')}
</g>
</svg>
`
}

/** Each style begins with its sequence and ends with another one. The length of a text does not depend on the font of the page. */
function spansOf(line: string): string {
  let column = 0
  return line
    .split('\x1b[')
    .map(part => {
      const [, code = '', text = ''] = /^(?:(\d+)m)?(.*)$/.exec(part)!
      if (text === '') return ''
      const at = `x="${(MARGIN + column * CHARACTER).toFixed(1)}" textLength="${(stringWidth(text) * CHARACTER).toFixed(1)}"`
      column += stringWidth(text)
      return `<tspan ${[at, STYLES[code]].filter(Boolean).join(' ')}>${escaped(text)}</tspan>`
    })
    .join('')
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
