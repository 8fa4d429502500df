import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { type DownPolicy, Questions } from '../../../filters/exec/questions.ts'

/** Questions to a program that has begun; `lines` are written to it. */
async function begin(down: DownPolicy = 'fail', timeout = 0) {
  const lines: Record<string, unknown>[] = []
  const host = {
    down,
    timeout,
    unwritten: 0,
    write(line: string): Promise<void> | undefined {
      lines.push(JSON.parse(line))
      return undefined
    },
  }
  const questions = new Questions(host)
  await questions.begun([])
  const ask = (data = 'x') => questions.ask('message', undefined, `"data":"${data}"`)
  return { host, questions, lines, ask }
}

const DOWN = { message: 'the program exited' }

describe('Questions', () => {
  // The deadlines do not keep the process alive.
  const alive = setInterval(() => {}, 1000)
  after(() => clearInterval(alive))

  it('writes 256 of them, and the next as soon as one is answered', async () => {
    const { questions, lines, ask } = await begin()
    const answers = Array.from({ length: 300 }, () => ask())
    assert.equal(lines.length, 256)
    assert.equal(questions.answer({ id: 7, data: 'y' }), true)
    assert.equal(await answers[6], 'y')
    assert.equal(lines.length, 257)
    assert.equal(lines.at(-1)!.id, 257)
    for (let id = 1; id <= 300; id++) questions.answer({ id })
    assert.equal(lines.length, 300)
    assert.deepEqual(await Promise.all(answers.slice(7)), Array(293).fill(undefined))
  })

  it('writes nothing while 1 MiB is unread, neither questions nor notices, and keeps their order', async () => {
    const { host, questions, lines, ask } = await begin()
    host.unwritten = 1_048_576
    const notice = questions.notify('open', '"client":"a"')
    void ask()
    void questions.notify('disconnect', '"client":"a"')
    assert.deepEqual([lines.length, notice instanceof Promise], [0, true])
    host.unwritten = 1_000_000
    questions.sendWaiting()
    assert.deepEqual(
      lines.map(({ event }) => event),
      ['open', 'message', 'disconnect'],
    )
    await notice
    assert.equal(questions.notify('open', ''), undefined)
  })

  it('takes one answer for each question that was written', async () => {
    const { host, questions, ask } = await begin()
    const first = ask()
    host.unwritten = 2_000_000
    const second = ask()
    assert.equal(questions.answer({ id: 2 }), false)
    assert.equal(questions.answer({ id: 1 }), true)
    assert.equal(questions.answer({ id: 1 }), false)
    assert.equal(questions.answer({}), false)
    await first
    host.unwritten = 0
    questions.sendWaiting()
    assert.equal(questions.answer({ id: 2 }), true)
    await second
  })

  it('fails questions that are not answered, or not written, in time, and releases them', async () => {
    const { host, questions, lines, ask } = await begin('hold', 30)
    const late = ask()
    host.unwritten = 2_000_000
    const unwritten = ask()
    await assert.rejects(late, { code: 'ERR_TIMEOUT', message: 'the program did not answer it within 0.03 s' })
    await assert.rejects(unwritten, { code: 'ERR_TIMEOUT', message: 'the program did not get it within 0.03 s' })
    host.unwritten = 0
    questions.sendWaiting()
    assert.equal(lines.length, 1)
    assert.equal(questions.answer({ id: 1 }), false)
  })

  it('with fail: open questions and those that come later fail', async () => {
    const { questions, ask } = await begin('fail')
    const open = ask()
    questions.ended('the program exited')
    await assert.rejects(open, DOWN)
    await assert.rejects(ask(), DOWN)
    assert.equal(questions.notify('open', ''), undefined)
  })

  it('with pass: open questions and those that come later pass', async () => {
    const { questions, ask } = await begin('pass')
    const open = ask()
    questions.ended('the program exited')
    assert.deepEqual([await open, await ask()], [undefined, undefined])
  })

  it('with hold: open questions are asked again before later ones, after the state of the server', async () => {
    const { questions, lines, ask } = await begin('hold')
    const answers = [ask('a'), ask('b')]
    questions.answer({ id: 1 })
    questions.ended('the program exited')
    answers.push(ask('c'))
    lines.splice(0)
    const begun = questions.begun(['{"event":"open"}\n', '{"event":"open"}\n'])
    answers.push(ask('d'))
    await begun
    assert.deepEqual(lines, [
      { event: 'open' },
      { event: 'open' },
      { event: 'message', id: 2, again: true, data: 'b' },
      { event: 'message', id: 3, data: 'c' },
      { event: 'message', id: 4, data: 'd' },
    ])
    for (const { id } of lines.slice(2)) questions.answer({ id, data: `${id}` })
    assert.deepEqual(await Promise.all(answers), [undefined, '2', '3', '4'])
  })

  it('does not take an answer to a question that was written to an earlier program only', async () => {
    const { host, questions, ask } = await begin('hold', 40)
    const question = ask()
    questions.ended('the program exited')
    host.unwritten = 2_000_000
    await questions.begun([])
    assert.equal(questions.answer({ id: 1 }), false)
    await assert.rejects(question, { message: 'the program did not get it within 0.04 s' })
  })

  it('stays down when the program ends before it has the state of the server', async () => {
    const { host, questions, lines, ask } = await begin()
    let read = () => {}
    const write = host.write
    host.write = line => {
      write(line)
      return new Promise<void>(resolve => {
        read = resolve
      })
    }
    const begun = questions.begun(['{"event":"open"}\n', '{"event":"open"}\n'])
    const waiting = ask()
    questions.ended('the program exited')
    read()
    await begun
    await assert.rejects(waiting, DOWN)
    await assert.rejects(ask(), DOWN)
    assert.deepEqual(lines, [{ event: 'open' }])
  })

  it('counts open questions rightly over restarts', async () => {
    for (const down of ['fail', 'hold', 'pass'] as const) {
      const { questions, lines, ask } = await begin(down)
      for (let i = 0; i < 200; i++) ask().catch(() => {})
      questions.ended('the program exited')
      await questions.begun([])
      lines.splice(0)
      for (let i = 0; i < 300; i++) ask().catch(() => {})
      assert.equal(lines.length, down === 'hold' ? 56 : 256)
    }
  })

  it('holds thousands of waiting questions without keeping those that are written', async () => {
    const { questions, lines, ask } = await begin()
    const answers = Array.from({ length: 5000 }, (_, i) => ask(`${i}`))
    for (let i = 0; i < 5000; i++) questions.answer({ id: lines[i]!.id })
    await Promise.all(answers)
    assert.deepEqual(
      lines.map(({ data }) => Number(data)),
      Array.from({ length: 5000 }, (_, i) => i),
    )
  })
})
