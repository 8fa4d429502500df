import { EVERYONE, type Host, type OptionSpecs, type Retention } from 'filtered-websocket'
import { topicParts } from 'filtered-websocket/kit'
import { describeRule, readRules } from './streams/rule.ts'

export const describe = 'Keep the messages of topics for clients that reconnect'

export const needs = ['streams']

export const options = {
  'streams-rules': {
    type: 'array',
    separator: ';',
    demandOption: true,
    describe:
      'Rules "TOPICS size=ENTRIES ttl=TIME bytes=BYTES full=trim|refuse", such as "chat/** size=500 ttl=5m". The first that matches a topic holds',
  },
  'streams-away': {
    type: 'string',
    choices: ['wait', 'refuse', 'live'],
    default: 'wait',
    describe:
      'While the storage does not answer, messages wait, are refused, or reach the clients of their node at once (all clients learn that they may have missed some)',
  },
  'streams-wait': {
    type: 'number',
    default: 15,
    min: 0.1,
    max: 3600,
    describe: 'Seconds that a message waits for the storage; later it is refused',
  },
  'streams-recover': {
    type: 'number',
    default: 4_194_304,
    min: 1,
    max: 268_435_456,
    integer: true,
    describe: 'Bytes that a client gets when it returns; one that has missed more gets none of them',
  },
} as const satisfies OptionSpecs

/** Keeps the topics that a rule matches. */
export const setup = ({ options: chosen }: Host<typeof options>) => {
  const rules = readRules(chosen['streams-rules'], {
    away: chosen['streams-away'],
    waitMs: chosen['streams-wait'] * 1000,
    recoverBytes: chosen['streams-recover'],
  })
  return {
    retain(topic: string): Retention | undefined {
      if (topic === EVERYONE) return rules.find(({ pattern }) => pattern === EVERYONE)?.retention
      const parts = topicParts(topic)
      return rules.find(({ matches }) => matches(parts))?.retention
    },
    explain: rules.map(describeRule),
  }
}
