import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limitsOf } from '../../../filters/messaging/wire/limits.ts'
import { frameOf } from '../../../filters/messaging/wire/message.ts'
import { readAnnouncement, writeAnnouncement } from '../../../protocols/clever-show/announcement.ts'
import { action, vector } from '../../support/messaging.ts'

const recorded = { host: '192.168.1.101', port: 25_000, id: '0042', startTime: 1_600_000_000.25 }
const kwargs = { host: '192.168.1.101', port: '25000', id: '0042', start_time: '1600000000.25' }

describe('an announcement', () => {
  it('has the bytes that clever-show sends', () => {
    assert.deepEqual(writeAnnouncement(recorded, Buffer), vector('py3/broadcast/server_ip'))
  })

  it('is read from clever-show in Python 2 and 3', () => {
    for (const name of ['py3/broadcast/server_ip', 'py27/broadcast/server_ip'])
      assert.deepEqual(readAnnouncement(vector(name), limitsOf().parse), recorded)
  })

  const wrong: readonly (readonly [what: string, datagram: Buffer])[] = [
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.alloc(1)],
    ['zeros', Buffer.alloc(48)],
    ['a frame and a byte', Buffer.concat([vector('py3/broadcast/server_ip'), Buffer.from(' ')])],
    ['a frame that is cut', vector('py3/broadcast/server_ip').subarray(0, -1)],
    ['another action', action('server', [], kwargs)],
    ['a request', frameOf({ type: 'request', name: 'server_ip', id: '1', args: [], kwargs })],
    ['no kwargs', action('server_ip')],
    ['no action', vector('bad/no-action')],
    ['a datagram that is longer than any', action('server_ip', [], { ...kwargs, x: 'x'.repeat(1024) })],
    ['an invalid host', action('server_ip', [], { ...kwargs, host: '10.0.0.1; reboot' })],
    ['a host that is too long', action('server_ip', [], { ...kwargs, host: 'a'.repeat(254) })],
    ['a host that is not a string', action('server_ip', [], { ...kwargs, host: 1 })],
    ['port 0', action('server_ip', [], { ...kwargs, port: '0' })],
    ['a port too high', action('server_ip', [], { ...kwargs, port: '65536' })],
    ['a port that is not a string', action('server_ip', [], { ...kwargs, port: 25_000 })],
    ['a port with a space', action('server_ip', [], { ...kwargs, port: ' 25000' })],
    ['an id that is not a string', action('server_ip', [], { ...kwargs, id: 42 })],
    ['an id that is too long', action('server_ip', [], { ...kwargs, id: '1'.repeat(129) })],
    ['an invalid time', action('server_ip', [], { ...kwargs, start_time: 'NaN' })],
    ['no time', action('server_ip', [], { ...kwargs, start_time: undefined })],
  ]
  for (const [what, datagram] of wrong)
    it(`is not ${what}`, () => {
      assert.equal(readAnnouncement(datagram, limitsOf().parse), undefined)
    })
})
