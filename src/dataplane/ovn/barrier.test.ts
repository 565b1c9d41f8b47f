import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Barrier, type BarrierPlace, flowsIn } from './barrier.ts';

const shown = (flows: number): string =>
  `netdev@ovs-netdev:\n  flows         : (current ${flows}) (avg 12) (max 99) (limit 200000)\n  dump duration : 1ms\n`;

/** A switch that tells what it was asked. Time passes only when the test says so. */
class Switch {
  installed = 0;
  flows = 10;
  time = 5_000;
  mixed = false;
  readonly asked: string[] = [];
  #held: (() => void) | undefined;
  #holding = false;
  readonly barrier: Barrier;
  constructor() {
    const ask: BarrierPlace['ask'] = async (method) => {
      if (method === 'upcall/show') return shown(this.flows);
      this.asked.push(method.replace('revalidator/', ''));
      if (this.mixed && method === 'revalidator/wait') throw new Error("can't wait on multiple udpifs.");
      if (this.#holding) await new Promise<void>((resolve) => (this.#held = resolve));
      return '';
    };
    const pause = async (milliseconds: number): Promise<void> => {
      this.time += milliseconds;
    };
    this.barrier = new Barrier({ installed: () => this.installed, ask, now: () => this.time, pause });
  }
  /** Answers are kept back until `release`. */
  hold(): void {
    this.#holding = true;
  }
  async release(): Promise<void> {
    while (this.#held === undefined) await new Promise((resolve) => setImmediate(resolve));
    this.#holding = false;
    this.#held();
    this.#held = undefined;
  }
}

test('a first proof forgets everything, and proves all that is installed by then', async () => {
  const host = new Switch();
  host.installed = 7;
  assert.equal(await host.barrier.prove(5), 7);
  assert.equal(await host.barrier.prove(7), 7);
  assert.deepEqual(host.asked, ['purge']);
});

test('one who brings fences about without end makes the host forget no more than its measure', async () => {
  const host = new Switch();
  host.flows = 20_000;
  const began = host.time;
  let forgotten = 0;
  for (let number = 1; number <= 1_000; number++) {
    host.installed = number;
    const before = host.asked.length;
    await host.barrier.prove(number);
    if (host.asked.slice(before).includes('purge')) forgotten += host.flows;
    host.time += 10;
  }
  const seconds = (host.time - began) / 1_000;
  assert.ok(forgotten >= 5 * host.flows, 'it does forget');
  assert.ok(forgotten <= 50_000 * (seconds + 1), `${forgotten} decisions in ${seconds} s`);
});

test('nor can he with a host that has hardly anything cached', async () => {
  const host = new Switch();
  host.flows = 0;
  for (let number = 1; number <= 1_000; number++) {
    host.installed = number;
    await host.barrier.prove(number);
  }
  assert.equal(host.asked.filter((method) => method === 'purge').length, 100);
});

test('beyond the measure two whole rounds of revalidation take its place: one may have begun before', async () => {
  const host = new Switch();
  host.flows = 30_000;
  for (const [number, pause] of [
    [1, 200],
    [2, 500],
    [3, 0],
  ] as const) {
    host.installed = number;
    await host.barrier.prove(number);
    host.time += pause;
  }
  assert.deepEqual(host.asked, ['purge', 'wait', 'wait', 'purge']);
});

test('where many flows are cached, nobody makes the host forget them at once', async () => {
  const host = new Switch();
  host.installed = 1;
  host.flows = 50_001;
  await host.barrier.prove(1);
  assert.deepEqual(host.asked, ['wait', 'wait']);
});

test('what was installed after a proof began is not proven by it', async () => {
  const host = new Switch();
  host.installed = 1;
  host.flows = 30_000;
  host.hold();
  const first = host.barrier.prove(1);
  await new Promise((resolve) => setImmediate(resolve));
  host.installed = 2;
  const second = host.barrier.prove(2);
  await host.release();
  assert.equal(await first, 1);
  assert.equal(await second, 2);
  assert.deepEqual(host.asked, ['purge', 'wait', 'wait']);
});

test('who comes while a proof of his configuration runs shares it', async () => {
  const host = new Switch();
  host.installed = 4;
  host.hold();
  const all = [1, 2, 3, 4].map((number) => host.barrier.prove(number));
  await host.release();
  assert.deepEqual(await Promise.all(all), [4, 4, 4, 4]);
  assert.deepEqual(host.asked, ['purge']);
});

test('what is not installed is not proven', async () => {
  const host = new Switch();
  host.installed = 4;
  await assert.rejects(host.barrier.prove(5), /configuration 5 is not installed/);
  assert.deepEqual(host.asked, ['purge', 'purge'], 'a second time is enough to know');
});

test('what is proven stays so when ovn-controller, which begins anew, tells of no configuration yet', async () => {
  const host = new Switch();
  host.installed = 7;
  await host.barrier.prove(7);
  host.installed = 0;
  await host.barrier.forget();
  assert.equal(await host.barrier.prove(7), 7);
});

test('a change without a number is not covered by a proof that began before it', async () => {
  const host = new Switch();
  host.flows = 30_000;
  host.hold();
  const before = host.barrier.forget();
  await new Promise((resolve) => setImmediate(resolve));
  const after = host.barrier.forget();
  await host.release();
  await Promise.all([before, after]);
  assert.deepEqual(host.asked, ['purge', 'wait', 'wait']);
});

test('with two kinds of datapath, which cannot be waited for, the host forgets at the same pace', async () => {
  const host = new Switch();
  host.mixed = true;
  host.flows = 49_500;
  const began = host.time;
  for (const number of [1, 2, 3]) {
    host.installed = number;
    await host.barrier.prove(number);
  }
  assert.deepEqual(host.asked, ['purge', 'wait', 'purge', 'wait', 'purge']);
  assert.equal(host.time - began, 2_000);
});

test('a switch that does not answer proves nothing, and is asked again', async () => {
  const host = new Switch();
  let broken = true;
  const barrier = new Barrier({
    installed: () => 3,
    now: () => 0,
    pause: async () => {},
    ask: async (method) => {
      if (broken) throw new Error('no such file');
      host.asked.push(method);
      return '';
    },
  });
  await assert.rejects(barrier.prove(3), /no such file/);
  broken = false;
  assert.equal(await barrier.prove(3), 3);
  assert.deepEqual(host.asked, ['upcall/show', 'revalidator/purge']);
});

test('flows of all datapaths are counted', () => {
  assert.equal(flowsIn(`${shown(30_000)}${shown(40_000)}`), 70_000);
  assert.equal(flowsIn(''), 0);
});
