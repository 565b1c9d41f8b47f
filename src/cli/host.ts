/**
 * `isthmus host`: the machines of a region with many. Invite, list, drain and remove are the operator's, over the admin
 * socket; join and agent are root's on the machine itself.
 */
import type { Command } from 'commander';
import { AdminClient, type AdminOptions, adminChangeVerb, adminVerb } from './admin.ts';
import { Failure } from './failure.ts';
import { become } from './halves.ts';
import { type JoinOptions, joinRegion } from './host-join.ts';
import { printJson, printList, printNote, printObject, printText } from './output.ts';
import { type PlaceOptions, placeOptions, placesOf } from './places.ts';

interface HostObject {
  readonly name: string;
  readonly state: 'invited' | 'active' | 'draining';
  readonly connected: boolean;
  readonly connectedSince: string | null;
  readonly knownToOvn: boolean;
  readonly behind: number | null;
  readonly workloads: readonly string[] | null;
  readonly owes: readonly { readonly vpcId: string; readonly what: 'cut' | 'install' }[];
  readonly problem: string | null;
  readonly invitationExpires: string | null;
  readonly createdTime: string;
}
interface Invitation {
  readonly name: string;
  readonly token: string;
  readonly expires: string;
  readonly authorityFingerprint: string;
  readonly regions: readonly string[];
  readonly southbound: readonly string[];
}

const id = ({ name }: HostObject): string => name;
const count = (number: number, one: string, many = `${one}s`): string => `${number} ${number === 1 ? one : many}`;
const path = (name: string, below = ''): string => `/hosts/${encodeURIComponent(name)}${below}`;

const connection = ({ state, connected, connectedSince }: HostObject): string =>
  state === 'invited' ? '–' : connected ? `since ${connectedSince}` : 'no';
/** By how much what it has installed is older than what is wanted. */
function lag({ behind }: HostObject): string {
  if (behind === null) return 'nothing yet';
  if (behind < 1000) return behind === 0 ? '0' : `${behind} ms`;
  return behind < 60_000 ? `${(behind / 1000).toFixed(1)} s` : `${Math.round(behind / 60_000)} min`;
}
const installed = (host: HostObject): string => {
  if (!host.knownToOvn) return 'OVN does not know the host';
  return host.behind === null ? 'nothing yet' : host.behind === 0 ? 'the newest' : `${lag(host)} older than the newest`;
};
const owed = ({ owes }: HostObject): readonly string[] =>
  owes.map(({ vpcId, what }) =>
    what === 'cut' ? `${vpcId}: may still carry what was taken away` : `${vpcId}: may not carry what was added yet`,
  );

const show = (options: AdminOptions, host: HostObject): void =>
  printObject(options, host, {
    id,
    title: ({ name, state }) => `${name}  ${state}`,
    properties: (one) => [
      ['Agent connected', connection(one)],
      ['Installed configuration', installed(one)],
      ['Workloads', one.workloads === null ? 'not told yet' : one.workloads],
      ['Owes', owed(one)],
      ...(one.problem === null ? [] : [['Why', one.problem] as const]),
      ...(one.invitationExpires === null ? [] : [['Invitation expires', one.invitationExpires] as const]),
      ['Invited', one.createdTime],
    ],
  });

const lastSeen = (portId: string): string => `${portId} was attached there when it was last heard.`;

/** Seconds of `90m`, `24h` or a number. */
function seconds(text: string): number {
  const [, number, unit = 's'] = /^([0-9]{1,7})([smhd]?)$/.exec(text) ?? [];
  const factor = { s: 1, m: 60, h: 3600, d: 86_400, '': 1 }[unit] ?? 1;
  if (number === undefined)
    throw new Failure(2, `--expires '${text}' is not a time.`, { remedy: 'Write 90m, 24h or 3d.' });
  return Number(number) * factor;
}

/** The line to be run on the machine. */
const joinLine = ({ name, token, authorityFingerprint, regions, southbound }: Invitation): string => {
  const region = `--region ${regions.join(',')} --token ${token} --ca-fingerprint ${authorityFingerprint}`;
  const database = southbound.length === 0 ? '' : ` --ovn-remote ${southbound.join(',')}`;
  return `sudo isthmus host join --name ${name} ${region}${database}`;
};

function operatorVerbs(noun: Command): void {
  adminVerb(noun, 'invite <name>', 'let a machine join, once (operator)')
    .option('--expires <time>', 'how long the token is good for: 90m, 24h, 3d', '1h')
    .action(async (name: string, options: AdminOptions & { readonly expires: string }) => {
      const body = { name, seconds: seconds(options.expires) };
      const made = (await new AdminClient(options).call('POST', '/hosts', body)) as Invitation;
      if (options.json === true) return printJson({ ...made, command: joinLine(made) });
      if (options.quiet === true) return printText(`${joinLine(made)}\n`);
      printNote(`${made.name} may join until ${made.expires}, once. Run this on it:`);
      printText(`\n  ${joinLine(made)}\n\n`);
      if (made.southbound.length === 0) {
        printNote(
          'Add --ovn-remote: the southbound database of this region is a socket, which other machines cannot reach.',
        );
      }
      if (made.southbound.some((remote) => remote.startsWith('ssl:'))) {
        printNote(
          'Its ovn-controller needs certificates for ssl: first ovs-vsctl set-ssl KEY CERTIFICATE CA there, or add --ovn-key, --ovn-cert and --ovn-ca.',
        );
      }
    });
  adminVerb(noun, 'list', 'list the hosts (operator)')
    .alias('ls')
    .action(async (options: AdminOptions) => {
      const { hosts } = (await new AdminClient(options).call('GET', '/hosts')) as { hosts: readonly HostObject[] };
      printList(options, hosts, {
        columns: [
          { title: 'HOST', of: id, flexible: true },
          { title: 'STATE', of: ({ state }) => state, tone: ({ state }) => (state === 'active' ? 'good' : 'warn') },
          {
            title: 'CONNECTED',
            of: (one) => (one.state === 'invited' ? '–' : one.connected ? 'yes' : 'no'),
            tone: (one) => (one.connected || one.state === 'invited' ? 'good' : 'bad'),
          },
          { title: 'BEHIND', of: (one) => (one.knownToOvn ? lag(one) : '–'), align: 'right' },
          {
            title: 'WORKLOADS',
            of: ({ workloads }) => (workloads === null ? '–' : String(workloads.length)),
            align: 'right',
          },
          { title: 'OWES', of: ({ owes }) => (owes.length === 0 ? '' : count(owes.length, 'VPC')), tone: () => 'bad' },
        ],
        id,
        none: 'No host yet. Invite one: isthmus host invite NAME',
      });
    });
  adminVerb(noun, 'show <name>', 'show one host (operator)').action(async (name: string, options: AdminOptions) => {
    const { host } = (await new AdminClient(options).call('GET', path(name))) as { host: HostObject };
    show(options, host);
  });
  adminChangeVerb(noun, 'drain <name>', 'give it no new workloads (operator)')
    .option('--undo', 'let it take workloads again')
    .action(async (name: string, options: AdminOptions & { readonly undo?: true }) => {
      const verb = options.undo === true ? '/undrain' : '/drain';
      const { host } = (await new AdminClient(options).call('POST', path(name, verb))) as { host: HostObject };
      if (options.json === true || options.quiet === true) return show(options, host);
      if (options.undo === true) return printNote(`${name} takes workloads again.`);
      const left = host.workloads ?? [];
      const state = host.workloads === null || !host.connected ? ' as far as is known' : '';
      printNote(
        `${name} takes no new workloads; ${count(left.length, 'workload is', 'workloads are')} still there${state}.`,
      );
      printText(left.map((portId) => `${portId}\n`).join(''));
      if (left.length > 0)
        printNote('Detach each there (isthmus detach), attach it on another host, then: isthmus host remove.');
    });
  adminChangeVerb(noun, 'remove <name>', 'take it out of the region (operator)')
    .alias('rm')
    .option('--lost', 'the machine is gone for good: do not ask it')
    .action(async (name: string, options: AdminOptions & { readonly lost?: true }) => {
      const query = options.lost === true ? '?lost=true' : '';
      if (options.lost === true && options.plan === true && options.quiet !== true) {
        const { host } = (await new AdminClient(options).call('GET', path(name))) as {
          host: HostObject;
        };
        for (const portId of host.workloads ?? []) printNote(lastSeen(portId));
      }
      const done = (await new AdminClient(options).call('DELETE', path(name, query))) as {
        readonly chassisProblem: string | null;
        readonly unproven: readonly string[];
        readonly lastWorkloads: readonly string[];
      };
      if (options.json === true) return printJson(done);
      if (options.quiet === true) return printText(`${name}\n`);
      printNote(`${name} is no host of this region any more: its certificate is worth nothing.`);
      if (done.chassisProblem !== null) {
        printNote(`OVN still counts on it: ${done.chassisProblem}. Later: ovn-sbctl chassis-del ${name}`);
      }
      if (options.lost !== true) {
        return printNote('Stop ovn-controller there (systemctl disable --now ovn-host), or OVN takes it back.');
      }
      for (const portId of done.lastWorkloads) printNote(lastSeen(portId));
      for (const vpcId of done.unproven) printNote(`It never proved that it has cut what was taken from ${vpcId}.`);
      printNote('Nobody can prove any more what that machine does. If it still runs, keep it from the tunnel network.');
    });
}

interface AgentOptions extends PlaceOptions {
  readonly state?: string;
}

export function register(program: Command): void {
  const noun = program.command('host').description('the machines of a region with many (operator, root)');
  operatorVerbs(noun);
  noun
    .command('join')
    .description('make this machine a host of a region (root)')
    .requiredOption('--region <addresses>', 'HOST:PORT of each API server, by commas')
    .requiredOption('--token <token>', 'of the invitation')
    .requiredOption('--ca-fingerprint <fingerprint>', 'of the invitation: sha256:…')
    .option('--name <name>', 'of the invitation: checks that OVN does not know this machine by another')
    .option('--ovn-remote <remotes>', 'of the invitation: the southbound database, as this machine reaches it')
    .option('--encap-ip <address>', 'our end of the tunnels (default: our address towards the region)')
    .option('--ovn-ca <file>', 'for ssl: who vouches for the database (default: as ovs-vsctl set-ssl was told)')
    .option('--ovn-cert <file>', 'for ssl: the certificate of this machine')
    .option('--ovn-key <file>', 'for ssl: its key; the three are told to ovs-vsctl set-ssl')
    .option('--take-over', 'also when Open vSwitch belongs to another OVN or another region, which then loses it')
    .option('--ovs-run-dir <path>', "of Open vSwitch's sockets (default OVS_RUNDIR, or /run/openvswitch)")
    .option('--state <path>', 'where the key and the certificate are kept (default /var/lib/isthmus-host)')
    .option('--dry-run', 'check, say what would be done, and do nothing')
    .option('--json', 'print what was done')
    .action((options: JoinOptions) => joinRegion(options));
  placeOptions(noun.command('agent').description('run the agent of this host (root, systemd)'))
    .option('--state <path>', 'as host join was told (default /var/lib/isthmus-host)')
    .action(async (options: AgentOptions) => {
      const { hostAgentCommand } = await import('../agent/ovn-launch.ts');
      const { defaultHome } = await import('../agent/host-home.ts');
      const { runDir } = placesOf(options);
      const { file, args } = hostAgentCommand({ runDir, state: options.state ?? defaultHome });
      await become(file, args);
    });
}
