/** `isthmus doctor`: what this host offers, whether the service is well, and what to do about what is not. */
import type { Command } from 'commander';
import { AgentClient } from '../dataplane/agent-client.ts';
import { DriverError, type Observed, type ProbeRow } from '../dataplane/driver.ts';
import type { RegionStatus } from '../region/service.ts';
import { AdminClient } from './admin.ts';
import { Failure } from './failure.ts';
import { type OutputOptions, printJson, printNote, printText } from './output.ts';
import { type PlaceOptions, placeOptions, placesOf, sockets } from './places.ts';
import { renderTable } from './table.ts';
import { painterFor, roomOf, type Tone } from './terminal.ts';

interface Check {
  readonly what: string;
  readonly state: 'good' | 'bad' | 'warn';
  readonly detail: string;
}

const words = { good: 'ok', bad: 'missing', warn: 'note' } as const;
const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const ofProbe = ({ feature, state, required, detail }: ProbeRow): Check => ({
  what: feature,
  state: state === 'yes' ? 'good' : required ? 'bad' : 'warn',
  detail,
});

/** Hosts that have joined, and of which OVN knows nothing. */
async function ofHosts(admin: AdminClient): Promise<readonly Check[]> {
  const { hosts } = (await admin.call('GET', '/hosts')) as {
    readonly hosts: readonly { readonly name: string; readonly connected: boolean; readonly knownToOvn: boolean }[];
  };
  return hosts
    .filter(({ connected, knownToOvn }) => connected && !knownToOvn)
    .map(({ name }) => {
      const what = 'its agent is connected, but OVN does not know it: nothing is carried there';
      const remedy = 'See there: isthmus doctor (is ovn-controller connected to the southbound database?)';
      return { what: `host ${name}`, state: 'bad', detail: `${what}. ${remedy}` };
    });
}

async function ofRegion(socket: string): Promise<readonly Check[]> {
  try {
    const admin = new AdminClient({ socket });
    const status = (await admin.call('GET', '/status')) as RegionStatus;
    const behind = status.planeProblem !== null || status.appliedRevision < status.revision;
    return [
      { what: 'region', state: 'good', detail: `${status.region}, revision ${status.revision}` },
      {
        what: 'data plane follows',
        state: behind ? 'bad' : 'good',
        detail: status.planeProblem ?? `revision ${status.appliedRevision} of ${status.revision} is true`,
      },
      ...(status.storeProblem === null
        ? []
        : [{ what: 'store', state: 'bad', detail: `${status.storeProblem}; nothing can be changed` } as const]),
      ...status.owed.map(({ host, notFenced, notInstalled, since, vpcIds, problem }): Check => {
        const more = notFenced + notInstalled > vpcIds.length ? ', …' : '';
        const owes = `${notFenced} VPCs not fenced, ${notInstalled} not installed, since ${since}: ${vpcIds.join(', ')}${more}`;
        const why = problem === null ? '' : ` Why, when it was asked last: ${problem}.`;
        const advice = 'Bring it back, and it catches up by itself; if it is gone for good, take it out of the region.';
        return { what: `host ${host} is behind`, state: 'bad', detail: `${owes}.${why} ${advice}` };
      }),
      ...(status.driver === 'ovn' ? await ofHosts(admin) : []),
      ...status.drift
        .slice(-5)
        .map(({ time, what }): Check => ({ what: 'drift', state: 'warn', detail: `${time} ${what}` })),
    ];
  } catch (error) {
    return [{ what: 'region', state: 'warn', detail: said(error) }];
  }
}

/** What the driver needs of this host; of many hosts, what the region and this host's own agent see of OVN. */
async function ofDriver(paths: ReturnType<typeof sockets>): Promise<readonly Check[]> {
  const admin = new AdminClient({ socket: paths.admin });
  const status = await admin.call('GET', '/status').catch(() => null);
  const ofRegionToo = (status as RegionStatus | null)?.driver === 'ovn';
  const agent = await AgentClient.connect(paths.host).catch(() => null);
  try {
    // The agent of an eBPF host has no region to call: it tells what the kernel offers, as is asked for below.
    const own = (await agent?.call<readonly ProbeRow[]>('probe', {}).catch(() => null)) ?? [];
    const ofHost = own.some(({ feature }) => feature === 'ovn-controller') ? own : [];
    if (ofRegionToo) {
      const { probe } = (await admin.call('GET', '/probe')) as { readonly probe: readonly ProbeRow[] };
      return [...probe, ...ofHost].map(ofProbe);
    }
    if (ofHost.length > 0) return ofHost.map(ofProbe);
  } finally {
    agent?.close();
  }
  const { EbpfDriver } = await import('../agent/ebpf-commands.ts');
  return (await EbpfDriver.probe()).map(ofProbe);
}

async function ofAgent(socket: string): Promise<readonly Check[]> {
  let client: AgentClient | undefined;
  try {
    client = await AgentClient.connect(socket);
    const none = { foreign: [], damage: [] };
    const {
      attachments: facts,
      foreign,
      damage,
    } = await client.call<Observed>('observe', {}).catch(async (error) => {
      // The network of many hosts is not in this one.
      if (!(error instanceof DriverError) || error.code !== 'not-supported') throw error;
      return { ...none, attachments: (await client?.call<Observed['attachments']>('attachments', {})) ?? [] };
    });
    const gone = facts.filter(({ state }) => state === 'vanished');
    return [
      { what: 'agent', state: 'good', detail: `${facts.length - gone.length} workloads attached` },
      ...gone.map(({ portId, target }): Check => {
        const detail = `${portId}: the workload in ${target} is gone. Attach it anew, or detach it.`;
        return { what: 'vanished workload', state: 'warn', detail };
      }),
      ...damage.map((detail): Check => ({ what: 'damage', state: 'bad', detail: `${detail}; healed within 10 s` })),
      ...foreign.map((detail): Check => ({ what: 'not ours', state: 'warn', detail: `${detail}: left as it is` })),
    ];
  } catch (error) {
    return [{ what: 'agent', state: 'warn', detail: said(error) }];
  } finally {
    client?.close();
  }
}

/** @throws Failure */
async function heal(socket: string): Promise<void> {
  let client: AgentClient | undefined;
  try {
    client = await AgentClient.connect(socket);
    const healed = await client.call<readonly string[]>('heal', {});
    for (const line of healed) printNote(line);
    if (healed.length === 0) printNote('The data plane is as it is wanted.');
  } catch (error) {
    throw new Failure(2, `The data plane cannot be healed: ${said(error)}.`, {
      remedy: 'Start the service: sudo isthmus up.',
    });
  } finally {
    client?.close();
  }
}

export function register(program: Command): void {
  placeOptions(program.command('doctor').description('check the host and the service'))
    .option('--json', 'print the checks')
    .option('--heal', 'compare the data plane with what is wanted now, instead of within 10 s, and mend it')
    .action(async (options: PlaceOptions & OutputOptions & { readonly heal?: true }) => {
      const paths = sockets(placesOf(options).runDir);
      if (options.heal === true) await heal(paths.host);
      const checks = [...(await ofDriver(paths)), ...(await ofRegion(paths.admin)), ...(await ofAgent(paths.host))];
      if (checks.some(({ state }) => state === 'bad')) process.exitCode = 1;
      if (options.json === true) return printJson(checks);
      const columns = [
        { title: 'CHECK', of: (check: Check) => check.what },
        { title: '', of: (check: Check) => words[check.state], tone: (check: Check): Tone => check.state },
        { title: 'DETAIL', of: (check: Check) => check.detail, flexible: true as const },
      ];
      printText(renderTable(columns, checks, painterFor(process.stdout), roomOf(process.stdout)));
    });
}
