/**
 * `isthmus attach`, `detach`, `exec`, `attachments`: workloads on interfaces. Root's business, over the agent's own socket:
 * moving a device into a namespace is never a tenant's call.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import type { Command } from 'commander';
import { AgentClient } from '../dataplane/agent-client.ts';
import { type AttachmentFact, type AttachRequest, DriverError } from '../dataplane/driver.ts';
import { isId } from '../model/ids.ts';
import { AdminClient } from './admin.ts';
import { Failure } from './failure.ts';
import { type OutputOptions, printJson, printList, printNote, printObject } from './output.ts';
import { type PlaceOptions, placeOptions, placesOf, sockets } from './places.ts';

type HostOptions = PlaceOptions & OutputOptions;

const remedies: Partial<Record<DriverError['code'], string>> = {
  'unknown-interface': 'Create it first: isthmus interface create. A new one needs the region to be up.',
  'already-attached': 'Detach it first: isthmus detach.',
  'no-such-target': 'Give the name that ip netns list shows, or the pid of a process in the namespace.',
};

const noAgent =
  'Start the service: sudo isthmus up; on a host of many its agent: systemctl start isthmus-host. Only root may use this socket.';

/** One call to the agent. @throws Failure */
async function onHost<T>(options: HostOptions, work: (client: AgentClient) => Promise<T>): Promise<T> {
  let client: AgentClient | undefined;
  try {
    client = await AgentClient.connect(sockets(placesOf(options).runDir).host);
    return await work(client);
  } catch (error) {
    if (!(error instanceof DriverError)) throw error;
    const message = /[.?!]$/.test(error.message) ? error.message : `${error.message}.`;
    const away = error.code === 'unavailable';
    const remedy = !away ? (remedies[error.code] ?? '') : client === undefined ? noAgent : 'See: isthmus doctor.';
    throw new Failure(away ? 2 : 1, message, { remedy });
  } finally {
    client?.close();
  }
}

/** The interface that a text means: an id, or a name that only one interface has. */
async function portId(options: HostOptions, text: string): Promise<string> {
  if (isId('interface', text)) return text;
  const { admin: path, host } = sockets(placesOf(options).runDir);
  if (!existsSync(path) && existsSync(host)) {
    throw new Failure(2, `'${text}' is not the id of an interface, and names are not known on a host.`, {
      remedy: 'Give its id, as isthmus interface list shows it: port-….',
    });
  }
  const admin = new AdminClient({ socket: path });
  const { interfaces } = (await admin.call('GET', `/interfaces?name=${encodeURIComponent(text)}`)) as {
    interfaces: readonly { networkInterfaceId: string; accountName: string }[];
  };
  const [only, ...more] = interfaces;
  if (only === undefined) {
    throw new Failure(1, `There is no interface '${text}'.`, { remedy: 'Look for it: isthmus interface list.' });
  }
  if (more.length > 0) {
    throw new Failure(2, `'${text}' is the name of several interfaces.`, {
      lines: interfaces.map((one) => `${one.networkInterfaceId} of ${one.accountName}`),
      remedy: 'Name one by its id.',
    });
  }
  return only.networkInterfaceId;
}

const show = (options: HostOptions, fact: AttachmentFact): void =>
  printObject(options, fact, {
    id: (one) => one.portId,
    title: (one) => `${one.portId}  ${one.state}`,
    properties: (one) => [
      ['Workload', one.target],
      ['Device', `${one.device}, MTU ${one.mtu}`],
      ['Link', one.up === null ? 'gone' : one.up ? 'up' : 'down'],
    ],
  });

const attachments = (options: HostOptions): Promise<readonly AttachmentFact[]> =>
  onHost(options, (client) => client.call('attachments', {}));

const hostVerb = (program: Command, spec: string, summary: string): Command =>
  placeOptions(program.command(spec).description(summary));

interface AttachOptions extends HostOptions {
  readonly netns?: string;
  readonly pid?: string;
  readonly device?: string;
  readonly mtu?: string;
}

const numberIn = (name: string, text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,9}$/.test(text)) throw new Failure(2, `--${name} '${text}' is not a number.`);
  if (name === 'pid' && !existsSync(`/proc/${text}`)) throw new Failure(1, `There is no process ${text}.`);
  return Number(text);
};

function targetOf(options: AttachOptions): AttachRequest['target'] {
  const pid = numberIn('pid', options.pid);
  if ((options.netns === undefined) === (pid === undefined)) {
    throw new Failure(2, 'Say where the workload is.', { remedy: 'Either --netns NAME or --pid N.' });
  }
  return pid === undefined ? { kind: 'netns', name: options.netns ?? '' } : { kind: 'pid', pid };
}

/** CAP_NET_ADMIN in our own user namespace reaches the other end of any veth pair: see docs/security.md. */
function warnOfPower(pid: number): void {
  if (!existsSync(`/proc/${pid}/status`)) return; // gone in the meantime
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  const ours = readlinkSync(`/proc/${pid}/ns/user`) === readlinkSync('/proc/self/ns/user');
  if (!ours || (BigInt(`0x${effective}`) & (1n << 12n)) === 0n) return;
  printNote(`Process ${pid} has CAP_NET_ADMIN on this host: no network namespace contains it. See docs/security.md.`);
}

export function register(program: Command): void {
  hostVerb(program, 'attach <interface>', 'put a workload on an interface (root)')
    .option('--netns <name>', 'the namespace, as ip netns knows it')
    .option('--pid <number>', 'any process in the namespace, such as a container')
    .option('--device <name>', 'what the device is called inside (default eth0)')
    .option('--mtu <bytes>', '1280 to 65535 (default 1500)')
    .option('--json', 'print the attachment')
    .action(async (text: string, options: AttachOptions) => {
      const target = targetOf(options);
      const mtu = numberIn('mtu', options.mtu);
      if (mtu !== undefined && (mtu < 1280 || mtu > 65_535)) {
        throw new Failure(2, `--mtu ${mtu} is out of range.`, { remedy: 'Use 1280 to 65535 bytes.' });
      }
      if (options.device !== undefined && !/^[A-Za-z0-9_.-]{1,15}$/.test(options.device)) {
        throw new Failure(2, `--device '${options.device}' is not a device name.`, {
          remedy: 'Use at most 15 letters, digits, dots, dashes and underscores.',
        });
      }
      const id = await portId(options, text);
      const request = {
        portId: id,
        target,
        ...(options.device === undefined ? {} : { device: options.device }),
        ...(mtu === undefined ? {} : { mtu }),
      };
      show(options, await onHost(options, (client) => client.call<AttachmentFact>('attach', request)));
      if (target.kind === 'pid') warnOfPower(target.pid);
    });
  hostVerb(program, 'detach <interface>', 'take the workload off it (root)')
    .option('--json', 'print what was done')
    .action(async (text: string, options: HostOptions) => {
      const id = await portId(options, text);
      await onHost(options, (client) => client.call('detach', { portId: id }));
      if (options.json === true) printJson({ portId: id, state: 'detached' });
      else printNote(`${id} is detached.`);
    });
  hostVerb(program, 'attachments', 'what is attached where (root)')
    .option('--json', 'print the facts')
    .action(async (options: HostOptions) => {
      printList(options, await attachments(options), {
        columns: [
          { title: 'INTERFACE', of: (one) => one.portId },
          { title: 'STATE', of: (one) => one.state, tone: (one) => (one.state === 'attached' ? 'good' : 'bad') },
          { title: 'WORKLOAD', of: (one) => one.target, flexible: true },
          { title: 'DEVICE', of: (one) => one.device },
          { title: 'MTU', of: (one) => String(one.mtu), align: 'right' },
          { title: 'LINK', of: (one) => (one.up === null ? 'gone' : one.up ? 'up' : 'down') },
        ],
        id: (one) => one.portId,
        none: 'Nothing is attached. Attach one: isthmus attach INTERFACE --netns NAME',
      });
    });
  hostVerb(program, 'exec <interface> <command...>', 'run a command where it is attached (root)').action(
    async (text: string, command: readonly string[], options: HostOptions) => {
      const id = await portId(options, text);
      const fact = (await attachments(options)).find((one) => one.portId === id);
      if (fact === undefined || fact.state === 'vanished') {
        throw new Failure(1, `No workload is attached to ${id}.`, { remedy: 'Attach one: isthmus attach.' });
      }
      const [kind, name = ''] = fact.target.split(/:(.*)/s);
      const namespace = kind === 'netns' ? `/run/netns/${name}` : `/proc/${name}/ns/net`;
      const args = [`--net=${namespace}`, '--', ...command];
      const { status, signal, error } = spawnSync('nsenter', args, { stdio: 'inherit' });
      if (error !== undefined) throw new Failure(2, `nsenter cannot be run: ${error.message}.`);
      process.exitCode = signal === null ? (status ?? 1) : 128 + constants.signals[signal];
    },
  );
}
