import { MAX_JSON_LENGTH, readJson } from 'filtered-websocket/kit'
import type { Limits } from '../../../protocols/clever-show/json.ts'

const PEER_JSON = { maxLength: Number.POSITIVE_INFINITY, allowNaN: true }
const TRUSTED_JSON = { ...PEER_JSON, maxElements: Number.POSITIVE_INFINITY }

/**
 * The limits of messages of peers. Their JSON may contain NaN, as Python writes it.
 *
 * @param maxContent - bytes of a content, and characters of a message as a JSON string. Default: 1,048,576.
 * @param maxFile - bytes of a file. Default: `maxContent`.
 */
export function limitsOf(maxContent = MAX_JSON_LENGTH, maxFile = maxContent): Limits {
  return { maxContent, maxFile, parse: text => readJson(text, PEER_JSON) }
}

/** Limits of messages of this server and its nodes, which are bounded when they are written. */
export const TRUSTED: Limits = {
  maxContent: Number.POSITIVE_INFINITY,
  parse: text => readJson(text, TRUSTED_JSON),
}
