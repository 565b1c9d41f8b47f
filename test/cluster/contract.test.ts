/** The contract on OVN across three hosts: every promise, on one bed. */
import { test } from 'node:test';
import { promises } from '../contract/promises.ts';
import type { Subject } from '../contract/subjects.ts';
import { probe } from './carrier.ts';
import { cannotRun, Ground } from './ground.ts';

const subjectOn = (ground: Ground): Subject => ({
  get driver() {
    return ground.driver;
  },
  joinsPairs: true,
  countsExits: false,
  become: (wanted) => ground.become(wanted),
  attach: async (portId, of) => {
    await ground.attach(portId, of);
  },
  forget: (portId) => ground.forget(portId),
  request: (request) => ground.request(request),
  detach: (portId) => ground.detach(portId),
  send: (from, to) => probe(ground, from, to),
  counted: () => ground.counted(),
  reopen: async () => {
    for (const host of ground.bed.hosts) await ground.reopenAgent(host);
    return ground.reopen();
  },
});

test('the contract on OVN across three hosts', { skip: cannotRun, timeout: 180_000 }, async (t) => {
  const ground = await Ground.start(t);
  for (const [promise, keep] of Object.entries(promises)) {
    await t.test(promise, { timeout: 30_000 }, async () => {
      try {
        await keep(subjectOn(ground));
      } finally {
        await ground.clear();
      }
    });
  }
});
