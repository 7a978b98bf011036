// SPDX-License-Identifier: MIT
// Asks a Headcount server whether this install has a good license; without an answer, the last one goes on.
//
//   const license = new HeadcountLicense({ url: 'https://count.example.com', rootKey: ROOT_KEY, product: 'acme', key,
//     folder: '/var/lib/acme', version: '2.4.1' });
//   if ((await license.status()).allowed) { … } // ROOT_KEY stands in your code, never in a file made to be edited

import { createHash, createHmac, randomBytes, webcrypto } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';

const [SECONDS, MAX_BODY, MINUTE, TOLERANCE] = [2, 65536, 60, 300];
const GOOD = ['active', 'grace'], NO = ['expired', 'suspended', 'revoked', 'over_seats', 'unknown', 'wrong_product'];
const NUMBERS = { sequence: 0, keys_sequence: 0, seen: 0, offset: 0, asked: 0, next: 0, interval: 0, failures: 0 };
const UNVERIFIED = { status: 'unverified', conclusive: false, plan: null, entitlements: {}, seats: null, update: null,
  expires_at: null };

const bytes = (text) => Buffer.from(text, 'base64url');
const between = (least, most) => least + Math.random() * (most - least);
const refuse = (why) => { throw new Error(why); };
const attempt = (work) => { try { return work(); } catch { return undefined; } };
const result = (says, problem) => ({ ...UNVERIFIED, ...says, allowed: GOOD.includes(says.status), problem });

export class HeadcountLicense {
  #url; #root; #folder; #file; #install; #system; #us; #cache; #kept; #working;
  #says = {}; // the payload of the answer that is kept

  constructor({ url, rootKey, product, key, folder, version, environment = 'production', channel = 'stable', file }) {
    const plain = (key ?? '').replace(/[-\s]/g, '').toUpperCase().replace(/O/g, '0').replace(/[IL]/g, '1');
    const hmac = (text) => createHmac('sha256', plain).update(text).digest('hex');
    [this.#url, this.#root, this.#folder, this.#file] = [url.replace(/\/+$/, ''), rootKey, folder, file];
    const instance = this.#instance() ?? hmac(folder).slice(0, 32); // it comes back, so that no seats are eaten
    this.#install = { key: plain, product, instance };
    this.#system = { version, environment, channel, os: process.platform, arch: os.machine?.() ?? process.arch };
    const digest = createHash('sha256').update(plain).digest('hex');
    this.#us = { product, key_digest: digest, instance_digest: hmac(instance) };
    this.#cache = `headcount-license-${digest.slice(0, 8)}.json`; // another key begins anew
    this.#kept = { ...NUMBERS, problem: plain ? 'no answer yet' : 'no license key' };
    this.request = { ...this.#us, version }; // the request for a license file, to be written as JSON
    setInterval(() => this.status(), MINUTE * 1000).unref();
  }

  /** What is known. Waits, 2 seconds at most, only if that does not allow and it is time to ask. */
  async status(ask = false) {
    try {
      if (!this.#kept.seen) await this.#load();
      if (ask || this.#due() || this.#now() > this.#kept.seen + MINUTE) {
        this.#working ??= this.#work(ask).finally(() => { this.#working = undefined; });
        if (ask || !this.#judge().allowed) await this.#working;
      }
      return this.#judge();
    } catch (error) {
      return result({}, String(error));
    }
  }

  check = () => this.status(true); // now, due or not; 2 seconds at most
  #now = () => Math.floor(Date.now() / 1000) + this.#kept.offset; // the server's time, as far as this clock can tell

  /** Give the seat back when the software is uninstalled. False: the server did not confirm it. */
  async release() {
    const asked = this.#post('/api/license/release', this.#install, AbortSignal.timeout(SECONDS * 1000));
    if (!(await asked.then(() => true, () => false))) return false;
    await this.#load();
    this.#install.key = ''; // or the next check would take it again
    this.#save({}, { answer: null, next: 0, problem: 'the seat was given back' });
    return true;
  }

  #due() {
    const { next, failures, asked, seen } = this.#kept;
    return this.#now() >= next || this.#now() < (failures ? asked : seen) - TOLERANCE;
  }

  #judge() {
    const [now, says, { problem, seen }] = [this.#now(), this.#says, this.#kept];
    if (!GOOD.includes(says.status)) return result(says, problem); // a no holds until there is another answer
    if (now < Math.max(seen, says.server_time) - TOLERANCE) return result({}, 'the clock was set back');
    if (now <= says.valid_until) return result(says, problem);
    if (now <= says.grace_until) return result({ ...says, status: 'grace', conclusive: false }, problem);
    return result({}, problem ?? 'the last answer is too old');
  }

  async #work(ask) {
    try {
      await this.#load(); // another process may have asked
      const [now, { failures, interval, seen }] = [this.#now(), this.#kept];
      if (!this.#install.key || !(ask || this.#due())) return this.#save(this.#says, { seen: Math.max(now, seen) });
      const next = Math.floor(now + between(5, Math.min(interval || 3600, MINUTE * 2 ** failures)));
      this.#save(this.#says, { failures: failures + 1, asked: now, next }); // it has failed until it succeeds
      await (this.#file ? this.#open() : this.#ask(AbortSignal.timeout(SECONDS * 1000)));
    } catch (error) {
      this.#save(this.#says, { problem: String(error.cause ?? error).replace(/[^ -z|~]|["[\]]/g, '') });
    }
  }

  async #open() {
    const { file, keys } = JSON.parse(fs.readFileSync(this.#file, 'utf8'));
    const says = await this.#read(file, keys);
    this.#accept(file, keys, says, Math.max(says.server_time, this.#now(), this.#kept.seen), MINUTE);
  }

  async #ask(signal) {
    const question = { ...this.#install, ...this.#system, nonce: randomBytes(24).toString('base64url'), keys: true };
    if (this.#says.token) question.token = this.#says.token;
    const given = JSON.parse(await this.#post('/api/license/check', question, signal));
    const keySet = given.keys ?? this.#kept.keys; // a new set each time: keys come, end, and are stolen
    const says = await this.#read(given.answer, keySet);
    const guess = !says.conclusive && !GOOD.includes(says.status);
    if (guess || says.nonce !== question.nonce) refuse('the answer is to another question, or no more than a guess');
    const [now, interval] = [says.server_time, Math.max(MINUTE, says.check_after - says.server_time)];
    Object.assign(this.#kept, { offset: now - Math.floor(Date.now() / 1000), interval });
    this.#accept(given.answer, keySet, says, now, interval * between(0.9, 1.1));
  }

  #accept(answer, keys, says, now, wait) {
    this.#save(says, { answer, keys, seen: now, asked: now, next: Math.floor(now + wait), failures: 0, problem: null,
      sequence: Math.max(says.sequence, this.#kept.sequence), keys_sequence: says.keys_sequence });
  }

  async #post(where, body, signal) {
    const headers = { 'Content-Type': 'application/json', 'User-Agent': 'headcount-license' };
    const asked = { method: 'POST', headers, body: JSON.stringify(body), redirect: 'manual', signal };
    const answer = await fetch(this.#url + where, asked);
    let text = '';
    for await (const part of answer.body ?? []) {
      text += Buffer.from(part).toString();
      if (text.length > MAX_BODY) refuse('the server\'s answer is too long');
    }
    return answer.status === 200 ? text : refuse(`the server answered ${answer.status}: ${text.slice(0, 300)}`);
  }

  /** What an answer says: if a certified key has signed it, about us, and it is no older than what is known. */
  async #read(answer, keySet) {
    const root = { kid: 'root', use: 'keys', x: this.#root, not_before: 0, not_after: 0 };
    const set = await signed(keySet, 'keys', [root]);
    const says = await signed(answer, this.#file ? 'file' : 'check', set.keys);
    const ours = Object.entries(this.#us).every(([name, value]) => says[name] === value);
    if (!ours || set.product !== says.product || ![...GOOD, ...NO].includes(says.status)) refuse('it is of others');
    const { sequence, keys_sequence } = this.#kept;
    if (!(says.sequence >= sequence - TOLERANCE * 1e6 && set.sequence >= keys_sequence)) refuse('it is too old');
    return { ...says, keys_sequence: set.sequence };
  }

  /** Take what is in the cache, unless it is garbage, forged, or behind what is known. */
  async #load() {
    const kept = attempt(() => JSON.parse(fs.readFileSync(`${this.#folder}/${this.#cache}`, 'utf8'))) ?? {};
    const whole = Object.keys(NUMBERS).every((name) => Number.isSafeInteger(kept[name]));
    if (!whole || kept.asked < this.#kept.asked) return;
    const says = kept.answer ? await this.#read(kept.answer, kept.keys).catch(() => null) : {};
    if (says) [this.#kept, this.#says] = [kept, says];
  }

  #save(says, changes) {
    [this.#says, this.#kept] = [says, { ...this.#kept, ...changes }];
    try {
      this.#write(this.#cache, JSON.stringify(this.#kept), fs.renameSync);
    } catch (error) {
      this.#kept.problem ??= String(error);
    }
  }

  #instance() {
    const [file, id] = [`${this.#folder}/headcount-instance`, randomBytes(16).toString('hex')];
    attempt(() => fs.mkdirSync(this.#folder, { recursive: true, mode: 0o700 }));
    if (!fs.existsSync(file)) attempt(() => this.#write('headcount-instance', id, fs.linkSync)); // the first one wins
    return attempt(() => /^[0-9a-f]{32}$/.exec(fs.readFileSync(file, 'utf8').trim())[0]);
  }

  #write(name, text, place) { // whole or not at all, and nobody else's to read
    const part = `${this.#folder}/.${randomBytes(8).toString('hex')}`;
    try {
      fs.writeFileSync(part, text, { mode: 0o600, flag: 'wx' });
      place(part, `${this.#folder}/${name}`);
    } finally {
      fs.rmSync(part, { force: true });
    }
  }
}

async function signed(jws, use, keys) {
  const [head, body, signature, ...more] = jws.split('.');
  const header = JSON.parse(bytes(head));
  const ours = header.alg === 'Ed25519' && header.typ === `headcount-${use}+jws` && !('crit' in header);
  if (!ours || more.length) refuse('the header is not one of Headcount\'s');
  const key = keys.find(({ kid }) => kid === header.kid);
  if (!key) throw new RangeError('the key that signed the answer is not certified');
  const trusted = await webcrypto.subtle.importKey('raw', bytes(key.x), 'Ed25519', false, ['verify']);
  const good = await webcrypto.subtle.verify('Ed25519', trusted, bytes(signature), Buffer.from(`${head}.${body}`));
  if (!good) refuse('the signature does not fit');
  const payload = JSON.parse(bytes(body));
  const at = payload.server_time ?? 0, inTime = at >= key.not_before - TOLERANCE && at <= key.not_after;
  if (key.use !== use || !inTime) refuse('the key that signed it is for another use or time');
  return payload;
}
