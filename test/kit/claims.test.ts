import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { claimAt, claimString, claimStrings } from '../../src/kit/claims.ts'

const CLAIMS = {
  role: 'admin',
  realm_access: { roles: ['user', 'admin'] },
  resource_access: { 'my.app': { roles: ['editor'] }, other: { roles: ['viewer'] } },
  'https://example.com/roles': ['x'],
  'a.b': 'whole',
  a: { b: 'nested', c: 'only nested' },
  scope: 'openid chat:read',
  auth: { scp: 'one  two' },
  note: 'two words',
  level: 3,
  ok: false,
  large: 2 ** 53,
  half: 0.5,
  empty: '',
  nothing: null,
  list: ['a', '', 7, true, null, ['b'], { c: 1 }],
}

describe('claimAt', () => {
  for (const [name, expected] of [
    ['role', 'admin'],
    ['realm_access.roles', ['user', 'admin']],
    ['resource_access.my.app.roles', ['editor']],
    ['resource_access.other.roles', ['viewer']],
    ['https://example.com/roles', ['x']],
    ['a.b', 'whole'],
    ['a.c', 'only nested'],
    ['realm_access.missing', undefined],
    ['realm_access.roles.0', undefined],
    ['realm_access.roles.length', undefined],
    ['role.length', undefined],
    ['nothing.x', undefined],
    ['constructor', undefined],
    ['a.constructor', undefined],
    ['__proto__.toString', undefined],
    ['.role', undefined],
    ['', undefined],
    ['....', undefined],
  ] as const)
    it(`finds ${JSON.stringify(name)}`, () => assert.deepEqual(claimAt(CLAIMS, name), expected))
})

describe('the strings of a claim', () => {
  for (const [name, one, all] of [
    ['role', 'admin', ['admin']],
    ['realm_access.roles', undefined, ['user', 'admin']],
    ['scope', 'openid chat:read', ['openid', 'chat:read']],
    ['auth.scp', 'one  two', ['one', 'two']],
    ['note', 'two words', ['two words']],
    ['level', '3', ['3']],
    ['ok', 'false', ['false']],
    ['half', '0.5', ['0.5']],
    ['large', undefined, []],
    ['empty', undefined, []],
    ['nothing', undefined, []],
    ['a', undefined, []],
    ['list', undefined, ['a', '7', 'true']],
    ['missing', undefined, []],
  ] as const)
    it(`${name}: ${JSON.stringify(all)}`, () =>
      assert.deepEqual([claimString(CLAIMS, name), claimStrings(CLAIMS, name)], [one, all]))
})
