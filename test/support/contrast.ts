import type { Page } from 'playwright-core'

/**
 * The smallest contrast of a border with the background inside of it, over all elements that match. WCAG 2.2 demands 3 for controls
 * (1.4.11). The border and the background must be opaque.
 */
export function borderContrast(page: Page, selector: string): Promise<number> {
  return page.evaluate<number>(`(() => {
    const luminance = color => {
      const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
      return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const contrast = element => {
      const { borderTopColor, backgroundColor } = getComputedStyle(element)
      const [low, high] = [luminance(borderTopColor), luminance(backgroundColor)].sort((a, b) => a - b)
      return (high + 0.05) / (low + 0.05)
    }
    return Math.min(...[...document.querySelectorAll(${JSON.stringify(selector)})].map(contrast))
  })()`)
}
