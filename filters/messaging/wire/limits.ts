import { MAX_JSON_LENGTH, readJson } from 'filtered-websocket/kit'
import type { Limits } from '../../../protocols/clever-show/json.ts'

const PEER_JSON = { maxLength: Number.POSITIVE_INFINITY, allowNaN: true }
const TRUSTED_JSON = { ...PEER_JSON, maxElements: Number.POSITIVE_INFINITY }

/**
 * What is accepted from peers. Their JSON may have NaN, as Python writes it.
 *
 * @param maxContent - bytes of a content, and characters of a message in text form. Default: 1,048,576.
 * @param maxFile - bytes of a file. Default: `maxContent`.
 */
export function limitsOf(maxContent = MAX_JSON_LENGTH, maxFile = maxContent): Limits {
  return { maxContent, maxFile, parse: text => readJson(text, PEER_JSON) }
}

/** For messages of this server and its nodes, which bound their size. */
export const TRUSTED: Limits = {
  maxContent: Number.POSITIVE_INFINITY,
  parse: text => readJson(text, TRUSTED_JSON),
}
