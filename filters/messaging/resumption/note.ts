import { cut } from '../../../protocols/clever-show/message.ts'
import type { Outcome } from '../rpc/outcome.ts'

/** Characters of an answer beyond which only that it was given is noted. */
const MAX_ANSWER = 65_536

/** What is known of something with an id: who works on it, or what came of it. */
export type Note =
  | { readonly n: number; readonly by: string; readonly outcome?: undefined }
  | { readonly n: number; readonly by?: undefined; readonly outcome: Outcome }

const ANSWERED = { code: 'answered', message: 'this has been done and answered, and the answer is not kept' }

/** @param by - the node that works on it. */
export function begun(n: number, by: string): string {
  return `${n} by ${by}`
}

/** What came of it, without the answer when that is too long; what JSON cannot say is noted as what its sender is told. */
export function done(n: number, { value, error }: Outcome): string {
  if (error !== undefined) return `${n} error ${JSON.stringify(error)}`
  let text: string | undefined
  try {
    text = JSON.stringify(value ?? null)
  } catch {}
  if (text === undefined) return `${n} error ${JSON.stringify(unserializable())}`
  return text.length > MAX_ANSWER ? doneOnly(n) : `${n} value ${text}`
}

/** The same without the answer. */
export function doneOnly(n: number): string {
  return `${n} error ${JSON.stringify(ANSWERED)}`
}

/** What is told when an answer is no JSON. */
export function unserializable(what = 'this'): { readonly code: string; readonly message: string } {
  return { code: 'unserializable', message: cut(`the answer to ${what} is not JSON`) }
}

/** An earlier one than what the slot is used for now: it has been answered, or its sender would not have gone on. */
export function forgotten(): Outcome {
  return { error: ANSWERED }
}

/** @throws Error when this is no note. */
export function noteIn(text: string): Note {
  const [, number, kind, rest] = /^(\d+) (by|value|error) (.*)$/s.exec(text) ?? []
  if (number === undefined || kind === undefined || rest === undefined)
    throw new Error(`the storage has no note where one should be, but ${JSON.stringify(text.slice(0, 40))}`)
  const n = Number(number)
  return kind === 'by' ? { n, by: rest } : { n, outcome: { [kind]: JSON.parse(rest) } as unknown as Outcome }
}

/** Which one a note is about, without reading the rest of it. */
export function numberIn(text: string): number {
  return Number.parseInt(text, 10)
}
