import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { skipWithoutBrowser, suiteBrowser } from '../support/browser.ts'
import { folder, root } from '../support/cli.ts'
import { DESKTOP, Fleet } from '../support/fleet.ts'
import { isAlive } from '../support/is-alive.ts'
import { becomes, until } from '../support/peer.ts'

describe('examples/fleet: failures', { skip: skipWithoutBrowser }, () => {
  const chromium = suiteBrowser()
  const start = (t: TestContext, copters: number, how = DESKTOP) => Fleet.start(t, chromium(), copters, how)

  it('cuts the connection of a copter, which later reports and runs the commands sent meanwhile', async t => {
    const fleet = await start(t, 3)
    await fleet.press('Arm')
    await fleet.see(3, 'armed')
    // Together, so that it hovers only after the cut; for long enough to send a command meanwhile.
    await Promise.all([fleet.call('takeoff'), fleet.cut('copter2', 12)])
    await fleet.see(2, 'hovering')
    await becomes(() => fleet.count(), '2 of 3 copters')
    await fleet.press('Land')
    await fleet.logs(/3 copters: landing sent/)
    assert.match(await fleet.link('copter2'), /away \d+ s/)
    await fleet.logs(/copter2: back after [1-9]\d\.\d s/)
    await fleet.logs(/copter2: hovering \(reported \d+\.\d s later\)/)
    await fleet.see(3, 'on the ground')
  })

  it('kills a process, which gets the queued commands after its restart', async t => {
    const fleet = await start(t, 2)
    const [, before] = await fleet.processes()
    await fleet.kill('copter2')
    await until(async () => /away/.test(await fleet.link('copter2')), 'a loss')
    await fleet.press('Violet lights')
    assert.equal(await fleet.light('copter2'), undefined)
    await until(async () => (await fleet.light('copter1')) === '112 74 184', 'violet lights')
    await until(async () => (await fleet.light('copter2')) === '112 74 184', 'what was kept')
    assert.notEqual((await fleet.processes())[1], before)
    assert.equal(await fleet.link('copter2'), 'connected')
  })

  it('accepts a copter that is started by hand, and lists it after it has left', async t => {
    const fleet = await start(t, 0)
    const readme = readFileSync(join(root, 'examples/fleet/README.md'), 'utf8')
    const [, words] = /^npx jiti (.*)$/m.exec(readme)!
    const argv = [...words!.split(' '), '--station', fleet.station, '--folder', folder(t)]
    const copter = spawn(process.execPath, ['node_modules/jiti/lib/jiti-cli.mjs', ...argv], { cwd: root })
    t.after(() => copter.kill())
    await until(async () => (await fleet.count()) === '1 copter', 'the copter')
    assert.deepEqual(await fleet.processes(), [copter.pid])
    await fleet.kill('copter11')
    await fleet.logs(/server: the server runs no process of copter11/)
    copter.kill()
    await until(async () => (await fleet.count()) === '0 of 1 copter', 'its end')
  })

  it('kills a process only after a confirmation', async t => {
    const fleet = await start(t, 1)
    const [pid] = await fleet.processes()
    const button = fleet.page.getByRole('button', { name: 'Kill process of copter1', exact: true })
    const dialog = fleet.page.getByRole('dialog', { name: 'Kill the process of copter1?' })
    const refuse = [
      () => fleet.press('Cancel'),
      () => fleet.page.keyboard.press('Escape'),
      // Cancel has the focus.
      () => fleet.page.keyboard.press('Enter'),
      () => fleet.page.keyboard.press('Space'),
      () => fleet.page.evaluate('document.querySelector("dialog").close()'),
    ]
    for (const close of refuse) {
      assert.equal(await button.innerText(), 'Kill')
      await button.click()
      await dialog.waitFor()
      await close()
      await dialog.waitFor({ state: 'hidden' })
      assert.equal(await fleet.page.evaluate('document.activeElement.ariaLabel'), 'Kill process of copter1')
    }
    // Answered after all that the page has sent before.
    await fleet.press('Arm')
    await fleet.logs(/1 copter: armed/)
    assert.ok(isAlive(pid!))
    await button.click()
    await fleet.page.keyboard.press('Tab')
    await fleet.page.keyboard.press('Enter')
    await fleet.logs(/copter1: disconnected/)
    // Escape after an earlier answer.
    await until(async () => (await fleet.link('copter1')) === 'connected', 'its restart')
    await fleet.page.keyboard.press('Enter')
    await dialog.waitFor()
    await fleet.page.keyboard.press('Escape')
    await fleet.press('Arm')
    await fleet.see(1, 'armed')
  })

  it('shows the last values without commands while the server is down, and leaves no copter behind', async t => {
    const fleet = await start(t, 2)
    const ids = await fleet.processes()
    await fleet.press('Kill process of copter1')
    await fleet.server.kill()
    await until(async () => (await fleet.page.locator('#status').textContent()) === 'offline, trying again', 'a loss')
    assert.equal(await fleet.page.getByRole('dialog').count(), 0)
    assert.equal(await fleet.page.locator('#next').textContent(), 'Commands need the server')
    assert.deepEqual([await fleet.link('copter1'), await fleet.link('copter2')], ['unknown', 'unknown'])
    assert.equal(await fleet.count(), '0 of 2 copters')
    const controls = await fleet.page.locator('main').locator('button, input, select').all()
    for (const control of controls) assert.ok(await control.isDisabled(), await control.innerText())
    // Screen readers read them.
    await fleet.page.getByRole('rowheader', { name: 'copter2', exact: true }).waitFor()
    await fleet.page.getByRole('log', { name: 'Events' }).waitFor()
    await until(() => ids.every(id => !isAlive(id)), 'the end of the copters')
  })
})
