// A replicated bank in one file: Multi-Paxos behind the line protocol. Node.js, no packages.
//
//   python run.py testsets/tour.csv --replicas docs/examples/bank_js.yaml
//
// One JSON object a line, in on standard input, out on standard output. A leader has the promises of
// a majority for its ballot, takes over what they had accepted, and has the log accepted in its
// ballot, slot by slot; what a majority accepted is chosen, and is executed in order. What is promised
// and accepted is in the folder PAXBANK_DATA before anybody is told. Limits: the log is kept whole, in
// memory too, and amounts are Numbers, so below 2^53.
'use strict'
const fs = require('fs')
const path = require('path')

const HEARTBEAT = 40 // ms
const ELECTION = [150, 300] // ms; who hears no leader for so long stands for it
const MOST = 100 // entries in a message
const NOOP = { type: 'noop' }
const NEVER = [0, '']

class Replica {
  constructor (name, names, balances) {
    Object.assign(this, { name, names, balances })
    this.others = names.filter(other => other !== name)
    this.promised = NEVER
    this.log = [null] // by slot, from 1 on: {ballot, request}, in the highest ballot it accepted it in
    this.executed = 0 // all up to here is chosen
    this.answers = {} // by client: its last timestamp, and what that gave
    this.results = [null] // by slot
    this.backUp(null)
    this.open(path.join(process.env.PAXBANK_DATA || '.', 'log.jsonl'))
  }

  // ---- disk ----

  open (file) {
    const written = fs.existsSync(file) ? fs.readFileSync(file) : Buffer.alloc(0)
    const whole = written.lastIndexOf('\n') + 1 // nobody was told of what stands behind it
    for (const line of written.subarray(0, whole).toString().split('\n')) {
      if (line) this.replay(JSON.parse(line))
    }
    this.file = fs.openSync(file, 'a')
    fs.ftruncateSync(this.file, whole)
  }

  replay ({ promised, slot, request, executed }) {
    if (slot) this.log[slot] = { ballot: this.promised, request }
    else if (promised) this.promised = promised
    else this.execute(executed)
  }

  write (...told) { // it survives SIGKILL then; a loss of power would need fsync
    if (told.length) fs.writeSync(this.file, told.map(one => JSON.stringify(one) + '\n').join(''))
  }

  promise (ballot) {
    this.promised = ballot
    this.write({ promised: ballot })
  }

  accept (first, requests) { // in the ballot that it promised
    const ballot = this.promised
    const told = []
    requests.forEach((request, at) => {
      const held = this.log[first + at]
      if (held && compare(held.ballot, ballot, this.names) === 0) return
      this.log[first + at] = { ballot, request }
      told.push({ slot: first + at, request })
    })
    this.write(...told)
  }

  // ---- saying ----

  say (dest, body) {
    process.stdout.write(JSON.stringify({ src: this.name, dest, body }) + '\n')
  }

  answer (asked, body) {
    this.say(asked.src, { in_reply_to: asked.body.msg_id, ...body })
  }

  isMajority (count) {
    return 2 * count > this.names.length
  }

  get last () { return this.log.length - 1 }

  heldUpTo (ballot) { // everything from what is chosen on is accepted in this ballot
    let slot = this.executed
    while (this.log[slot + 1] && compare(this.log[slot + 1].ballot, ballot, this.names) === 0) slot++
    return slot
  }

  // ---- time ----

  rest () {
    this.due = Date.now() + ELECTION[0] + Math.random() * (ELECTION[1] - ELECTION[0])
  }

  tick () {
    if (this.role === 'leader' && !this.isHeard()) this.backUp(null) // others may lead by now
    if (Date.now() < this.due) return
    if (this.role === 'leader') this.spread()
    else this.stand()
  }

  isHeard () { // by a majority, a moment ago
    const since = Date.now() - ELECTION[1]
    return this.isMajority(1 + this.others.filter(peer => this.heardAt[peer] >= since).length)
  }

  // ---- elections ----

  backUp (leader) { // whether what waits is ever chosen is for others to decide
    const waiting = this.role === 'leader' ? Object.values(this.waiting) : []
    Object.assign(this, { role: 'backup', leader, waiting: {} })
    for (const asked of waiting) this.answer(asked, { type: 'error', code: 0, text: 'leads no more' })
    this.rest()
  }

  stand () {
    this.backUp(null)
    this.role = 'candidate'
    this.promise([this.promised[0] + 1, this.name])
    this.promises = { [this.name]: this.entriesAbove(this.executed) }
    for (const peer of this.others) this.say(peer, { type: 'prepare', ballot: this.promised, after: this.executed })
    this.leadIfElected()
  }

  entriesAbove (slot) {
    const found = []
    for (let at = slot + 1; at <= this.last; at++) if (this.log[at]) found.push({ slot: at, ...this.log[at] })
    return found
  }

  leadIfElected () {
    if (this.role !== 'candidate' || !this.isMajority(Object.keys(this.promises).length)) return
    const best = [] // by slot: of all that was accepted, that of the highest ballot
    for (const entry of Object.values(this.promises).flat()) {
      const held = best[entry.slot]
      if (!held || compare(entry.ballot, held.ballot, this.names) > 0) best[entry.slot] = entry
    }
    const requests = []
    for (let slot = this.executed + 1; slot < best.length; slot++) requests.push(best[slot] ? best[slot].request : NOOP)
    Object.assign(this, { role: 'leader', leader: this.name, held: {}, heardAt: {} })
    for (const peer of this.others) {
      this.held[peer] = 0 // chosen there, or accepted in this ballot
      this.heardAt[peer] = Date.now()
    }
    this.accept(this.executed + 1, requests)
    this.spread()
  }

  // ---- the leader ----

  propose (asked) {
    const { msg_id: _, ...request } = asked.body
    this.waiting[this.last + 1] = asked
    this.accept(this.last + 1, [request])
    this.spread()
  }

  spread () { // everybody gets what it lacks; nothing is news too: the leader is there
    this.due = Date.now() + HEARTBEAT
    for (const peer of this.others) {
      const first = this.held[peer] + 1
      const requests = this.log.slice(first, first + MOST).map(entry => entry.request)
      this.say(peer, { type: 'accept', ballot: this.promised, first, requests, chosen: this.executed })
    }
    this.choose()
  }

  choose () {
    const held = [this.last, ...Object.values(this.held)].sort((a, b) => b - a)
    this.execute(held[Math.floor(held.length / 2)])
  }

  execute (upto) { // what is chosen up to here; the slots are there
    const before = this.executed
    while (this.executed < upto) {
      const request = this.log[++this.executed].request
      const result = this.results[this.executed] = this.apply(request)
      const asked = this.waiting[this.executed]
      delete this.waiting[this.executed]
      if (!asked || result === null) continue
      const where = { slot: this.executed, ballot: this.promised, leader: this.name }
      if (request.type === 'read') this.answer(asked, { type: 'read_ok', value: result, ...where })
      else this.answer(asked, { type: 'transfer_ok', result, ...where })
    }
    if (this.file && this.executed > before) this.write({ executed: this.executed })
  }

  apply (request) { // once, however often it stands in the log
    if (request.type === 'noop') return null
    const { client, timestamp } = request
    const [latest, known] = this.answers[client] || [-1, null]
    if (timestamp <= latest) return timestamp === latest ? known : null
    const result = request.type === 'read' ? this.balances[request.account] : this.move(request)
    this.answers[client] = [timestamp, result]
    return result
  }

  move ({ from, to, amount }) {
    if (this.balances[from] < amount) return 'failed'
    this.balances[from] -= amount
    this.balances[to] += amount
    return 'success'
  }

  // ---- what is said to it ----

  take (message) {
    const { src, body } = message
    if (body.ballot && this.names.includes(src)) this.takeFromPeer(src, body)
    else if (body.type === 'transfer' || body.type === 'read') this.onRequest(message)
    else if (body.type === 'state') this.onState(message)
    else if (body.type === 'log') this.onLog(message)
    else this.answer(message, { type: 'error', code: 10, text: `knows no ${body.type}` })
  }

  takeFromPeer (peer, body) {
    const newer = compare(body.ballot, this.promised, this.names)
    if (newer < 0) {
      if (body.type !== 'behind') this.say(peer, { type: 'behind', ballot: this.promised })
      return
    }
    if (newer > 0) {
      this.backUp(null)
      this.promise(body.ballot)
    }
    if (body.type === 'prepare') {
      this.say(peer, { type: 'promise', ballot: this.promised, entries: this.entriesAbove(body.after) })
    } else if (body.type === 'promise') {
      if (this.role === 'candidate') this.promises[peer] = body.entries
      this.leadIfElected()
    } else if (body.type === 'accept') {
      this.backUp(peer)
      this.accept(body.first, body.requests)
      this.execute(Math.min(body.chosen, this.heldUpTo(body.ballot)))
      this.say(peer, { type: 'accepted', ballot: this.promised, upto: this.heldUpTo(body.ballot) })
    } else if (body.type === 'accepted' && this.role === 'leader') {
      this.heardAt[peer] = Date.now()
      this.held[peer] = Math.max(this.held[peer], body.upto)
      this.choose()
    }
  }

  onRequest (message) {
    if (this.role === 'leader') return this.propose(message)
    const hint = this.leader ? { leader: this.leader } : {}
    this.answer(message, { type: 'error', code: 11, text: 'does not lead', ...hint })
  }

  onState (message) {
    const ballot = this.leader ? { ballot: this.promised } : {}
    const { balances, role, executed } = this
    this.answer(message, { type: 'state_ok', balances, role, executed, committed: executed, ...ballot })
  }

  onLog (message) {
    const entries = []
    const first = message.body.first_slot
    for (let slot = first; slot <= Math.min(this.last, first + 999); slot++) {
      if (!this.log[slot]) continue
      const { ballot, request } = this.log[slot]
      const result = this.results[slot]
      const status = slot <= this.executed ? 'E' : 'A'
      entries.push({ slot, status, ballot, ...request, ...(result === undefined || result === null ? {} : { result }) })
    }
    const more = this.last >= first + 1000 ? { next_slot: first + 1000 } : {}
    this.answer(message, { type: 'log_ok', entries, ...more })
  }
}

function compare (one, other, names) { // ballots: by number, then by the replica's place
  return one[0] - other[0] || names.indexOf(one[1]) - names.indexOf(other[1])
}

let replica = null
let data = ''
process.stdin.setEncoding('utf8')
process.stdin.on('end', () => process.exit())
process.stdin.on('data', text => {
  const lines = (data + text).split('\n')
  data = lines.pop()
  for (const message of lines.map(line => JSON.parse(line))) {
    const { type, node_id: name, node_ids: names, accounts } = message.body
    if (type !== 'init') {
      replica.take(message)
      continue
    }
    replica = new Replica(name, names, accounts)
    replica.answer(message, { type: 'init_ok' })
    setInterval(() => replica.tick(), 10)
  }
})
