const MAX_ITEMS = 50

/** Calls and their results, the latest one first, without HTML. */
export class Answers {
  #list
  #hint

  constructor(list, hint) {
    this.#list = list
    this.#hint = hint
  }

  /** Adds a line for a pending call. */
  add(method, args) {
    const item = document.createElement('li')
    const [call, answer, time] = ['code', 'output', 'small'].map(name => document.createElement(name))
    const start = performance.now()
    const settle = (name, text) => {
      item.className = name
      answer.textContent = text
      time.textContent = `${(performance.now() - start).toFixed(1)} ms`
    }
    call.textContent = `${method}(${args.map(arg => JSON.stringify(arg)).join(', ')})`
    item.append(call, time, answer)
    this.#list.prepend(item)
    while (this.#list.childElementCount > MAX_ITEMS) this.#list.lastElementChild.remove()
    this.#hint.hidden = true
    return {
      /** @param part - 0 to 1. */
      progress(part) {
        const bar = answer.querySelector('progress') ?? document.createElement('progress')
        bar.value = part
        bar.ariaLabel = `Progress of ${method}`
        answer.replaceChildren(bar)
      },
      done: value => settle('done', JSON.stringify(value)),
      failed: ({ code, message, data }) =>
        settle('failed', [code, message, data?.exception].filter(part => part !== undefined).join(': ')),
    }
  }
}
