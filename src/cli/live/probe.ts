/**
 * Sends real packets from one workload to another and watches both devices: where a probe stops says whose it is to
 * mend. Judges only what it saw; what the resources say is the service's.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentClient } from '../../dataplane/agent-client.ts';
import type { AttachmentFact, Counters } from '../../dataplane/driver.ts';
import { countersFrom, type PlainCounters } from '../../dataplane/wire.ts';
import { type Blocker, type BlockerCode, blocker, type Facts, whereOf } from '../../explain/blockers.ts';
import { closeFd } from '../../kernel/bpf.ts';
import { connectTcp, EchoSocket, openUdp } from '../../kernel/socket.ts';
import { type DropReason, dropReasons, exits } from '../../model/drop-reason.ts';
import type { PortId } from '../../model/ids.ts';
import { type Address, familyOf } from '../../model/ip.ts';
import { type Seen, Station } from './station.ts';

/** An end as the service describes it, with what is attached there. */
export interface LiveEnd {
  readonly portId: string;
  readonly vpcId: string;
  readonly address: Address;
  /** All addresses that it may send from. */
  readonly own: readonly Address[];
  readonly prefixLength: number;
  readonly gateway: Address;
  readonly fact: AttachmentFact;
}
export interface LiveOptions {
  readonly protocol: 'icmp' | 'udp' | 'tcp';
  readonly port: number;
  /** Bytes of the IP packet, for icmp. */
  readonly size: number | null;
}
export interface LiveResult {
  /** Whether a program in the source got an answer. */
  readonly answered: boolean;
  readonly forward: readonly Blocker[];
  readonly back: readonly Blocker[];
}

/** How long each probe is waited for, and how many there are. */
const patience = 400;
const tries = 2;

const worded = (code: BlockerCode, end: LiveEnd, more: Facts = {}): Blocker =>
  blocker(code, { vpc: end.vpcId, seen: true }, end.portId, {
    port: end.portId,
    target: end.fact.target,
    device: end.fact.device,
    where: whereOf(end.fact.target),
    mtu: String(end.fact.mtu),
    address: end.address,
    length: String(end.prefixLength),
    gateway: end.gateway,
    family: String(familyOf(end.address)),
    ...more,
  });

/** How a workload is set up against what its interface has. */
function setUp(end: LiveEnd, station: Station): readonly Blocker[] {
  if (station.link === undefined) return [worded('workload-no-device', end)];
  if (!station.link.up) return [worded('link-down', end)];
  const found: Blocker[] = [];
  if (!station.addresses().includes(end.address)) found.push(worded('workload-no-address', end));
  if (!station.hasDefaultRoute(familyOf(end.address))) found.push(worded('workload-no-default-route', end));
  return found;
}

/** What the sender's own stack says of a probe. */
interface Attempt {
  answered: boolean;
  /** Why its stack refused to send, or ''. */
  refused: string;
}

async function send(from: Station, to: Address, options: LiveOptions, attempt: Attempt): Promise<void> {
  const { namespace } = from;
  const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));
  const waitFor = async (heard: () => boolean): Promise<void> => {
    for (const end = performance.now() + patience; performance.now() < end && !attempt.answered; await sleep(5)) {
      attempt.answered = heard();
    }
  };
  if (options.protocol === 'icmp') {
    const family = familyOf(to);
    const socket = new EchoSocket(namespace, family);
    try {
      const headers = family === 4 ? 28 : 48;
      const sequence = socket.request(to, options.size === null ? {} : { size: Math.max(0, options.size - headers) });
      await waitFor(() => {
        for (let got = socket.receive(); got !== undefined; got = socket.receive()) {
          const { from: who, message } = got;
          const reply = message.readUInt8(0) === (family === 4 ? 0 : 129);
          if (reply && who === to && message.readUInt16BE(6) === sequence) return true;
        }
        return false;
      });
    } catch (error) {
      attempt.refused = said(error);
    } finally {
      socket.close();
    }
    return;
  }
  if (options.protocol === 'udp') {
    const socket = openUdp(namespace);
    try {
      socket.send(to, options.port, Buffer.from('isthmus probe'));
      await waitFor(() => socket.receive() !== undefined);
    } catch (error) {
      attempt.refused = said(error);
    } finally {
      socket.close();
    }
    return;
  }
  try {
    closeFd(connectTcp(namespace, to, options.port, patience));
    attempt.answered = true;
  } catch (error) {
    const text = said(error);
    // A refusal is an answer: the path is open, and nothing listens.
    if (/ECONNREFUSED/.test(text)) attempt.answered = true;
    else if (!/ETIMEDOUT|EINPROGRESS|EAGAIN/.test(text)) attempt.refused = text;
  }
}

/** The drop that an interface's exits gained since. */
function newDrop(before: Counters, after: Counters, portId: string): DropReason | undefined {
  const packets = (counters: Counters, reason: DropReason): number =>
    counters.exits.get(portId as PortId)?.get(reason)?.packets ?? 0;
  return dropReasons.find((reason) => packets(after, reason) > packets(before, reason));
}

/** Probes from one workload to another. @param agent for what the data plane counted meanwhile */
export async function probeLive(
  agent: AgentClient,
  from: LiveEnd,
  to: LiveEnd,
  options: LiveOptions,
): Promise<LiveResult> {
  const stations: Station[] = [];
  try {
    const source = new Station(from.fact);
    stations.push(source);
    const target = new Station(to.fact);
    stations.push(target);
    const before = countersFrom(await agent.call<PlainCounters>('counters', {}));
    const attempt: Attempt = { answered: false, refused: '' };
    for (let n = 0; n < tries && !attempt.answered; n++) {
      await send(source, to.address, options, attempt);
      source.listen();
      target.listen();
    }
    const after = countersFrom(await agent.call<PlainCounters>('counters', {}));
    return judge(from, to, { source, target, attempt, protocol: options.protocol, counters: [before, after] });
  } catch (error) {
    // A namespace that went in the meantime.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || stations.length === 2) throw error;
    return { answered: false, forward: [worded('vanished', stations.length === 0 ? from : to)], back: [] };
  } finally {
    for (const station of stations) station.close();
  }
}

interface Watched {
  readonly source: Station;
  readonly target: Station;
  readonly attempt: Attempt;
  readonly protocol: LiveOptions['protocol'];
  /** Before and after. */
  readonly counters: readonly [Counters, Counters];
}

/** Where the probe stopped, and whose that is to mend. */
function judge(from: LiveEnd, to: LiveEnd, watched: Watched): LiveResult {
  const { source, target, attempt, protocol, counters } = watched;
  const [before, after] = counters;
  const forward = [...setUp(from, source)];
  const back = [...setUp(to, target)];
  if (attempt.answered) return { answered: true, forward, back };
  const left = source.listen().filter(({ outgoing, destination }) => outgoing && destination === to.address);
  const arrived = target
    .listen()
    .some((one) => !one.outgoing && one.destination === to.address && one.source === from.address);
  const replied = target.listen().some((one) => one.outgoing && one.destination === from.address);
  const returned = source
    .listen()
    .some((one) => !one.outgoing && one.destination === from.address && one.source === to.address);
  // A closed UDP port answers with an ICMP error, which no socket of ours waits for: the way is open all the same.
  if (returned && protocol === 'udp') return { answered: true, forward, back };
  const dropped = (end: LiveEnd): readonly Blocker[] => {
    const reason = newDrop(before, after, end.portId);
    return reason === undefined ? [] : [worded('plane-drops', end, { reason, meaning: exits[reason].meaning })];
  };
  const spoofed = (end: LiveEnd, station: Station): readonly Blocker[] => {
    // Link-local and unspecified sources are the stack's own business.
    const foreign = (one: Seen): boolean =>
      one.outgoing && !end.own.includes(one.source) && !/^(fe80:|::$|0\.0\.0\.0$)/.test(one.source);
    const sent = station.listen().find(foreign);
    return sent === undefined ? [] : [worded('workload-foreign-source', end, { source: sent.source })];
  };
  const orElse = (found: readonly Blocker[], other: () => readonly Blocker[]): readonly Blocker[] =>
    found.length > 0 ? found : other();
  if (!arrived) {
    const kept = (): readonly Blocker[] => {
      const why = attempt.refused === '' ? '' : ` (${attempt.refused})`;
      return forward.length > 0 ? [] : [worded('workload-sends-not', from, { why, other: to.address })];
    };
    forward.push(...orElse(spoofed(from, source), () => (left.length === 0 ? kept() : dropped(from))));
  } else if (!replied) {
    const silent = (): readonly Blocker[] =>
      back.length > 0 ? [] : [worded('workload-answers-not', to, { other: from.address })];
    back.push(...orElse(spoofed(to, target), silent));
  } else if (!returned) back.push(...orElse(spoofed(to, target), () => dropped(to)));
  else forward.push(worded('workload-takes-not', from));
  return { answered: false, forward, back };
}
