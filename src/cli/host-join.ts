/**
 * `isthmus host join`: checks the machine, finds the region, joins, tells Open vSwitch. Says each thing before it goes on
 * to the next. Everything that can be wrong with the machine is found before the token is spent.
 */
import { isIP } from 'node:net';
import { defaultHome, type Home, joiningKey, readHome, writeHome } from '../agent/host-home.ts';
import { defaultRunDirectory, probeHost, setUp } from '../agent/host-setup.ts';
import { type Found, findRegion, fingerprintForm, joinAny, makeKey } from '../agent/join.ts';
import { splitAddress } from '../agent/region-caller.ts';
import { DriverError, type ProbeRow } from '../dataplane/driver.ts';
import { Failure } from './failure.ts';
import { printJson, printNote, printText } from './output.ts';
import { isRoot } from './places.ts';

export interface JoinOptions {
  readonly region: string;
  readonly token: string;
  readonly caFingerprint: string;
  readonly encapIp?: string;
  readonly ovnRemote?: string;
  readonly ovsRunDir?: string;
  readonly state?: string;
  readonly dryRun?: true;
  readonly json?: true;
}

const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const remoteForm = /^(tcp|ssl|unix):\S+$/;

function regionsIn(text: string): readonly string[] {
  const regions = text.split(',').map((one) => one.replace(/^https:\/\//, ''));
  for (const address of regions) {
    const { host, port } = splitAddress(address);
    if (host === '' || port < 1 || port > 65_535) {
      throw new Failure(2, `--region: '${address}' is not HOST:PORT.`, {
        remedy: 'Copy the line that host invite prints.',
      });
    }
  }
  return regions;
}

/** @throws Failure when the line was not copied whole */
function check({ caFingerprint, encapIp, ovnRemote }: JoinOptions): void {
  if (!isRoot()) throw new Failure(2, 'Joining needs root.', { remedy: 'Run it with sudo.' });
  if (!fingerprintForm.test(caFingerprint)) {
    throw new Failure(2, '--ca-fingerprint is not sha256: and 64 hexadecimal digits.', {
      remedy: 'Copy the line that host invite prints.',
    });
  }
  if (encapIp !== undefined && isIP(encapIp) === 0) throw new Failure(2, `--encap-ip '${encapIp}' is not an address.`);
  const bad = ovnRemote?.split(',').find((remote) => !remoteForm.test(remote));
  if (bad !== undefined) {
    throw new Failure(2, `--ovn-remote: '${bad}' is not a remote of OVSDB.`, {
      remedy: 'Write tcp:HOST:PORT or ssl:HOST:PORT.',
    });
  }
}

/** The first server that shows the region's authority. @throws Failure */
async function reachable(
  regions: readonly string[],
  fingerprint: string,
): Promise<Found & { readonly address: string }> {
  const problems: string[] = [];
  for (const address of regions) {
    try {
      return { address, ...(await findRegion(address, fingerprint)) };
    } catch (error) {
      problems.push(`${address}: ${said(error)}`);
    }
  }
  throw new Failure(2, 'No server of the region can be reached.', {
    lines: problems,
    remedy: 'Check the addresses, and that nothing between here and there is in the way.',
  });
}

function demand(rows: readonly ProbeRow[]): void {
  const missing = rows.filter(({ state, required }) => required && state !== 'yes');
  if (missing.length === 0) return;
  throw new Failure(2, 'This machine lacks what a host needs.', {
    lines: missing.map(({ feature, detail }) => `${feature}: ${detail}`),
    remedy: 'Mend that, and run the same line again: the token is not spent.',
  });
}

export async function joinRegion(options: JoinOptions): Promise<void> {
  check(options);
  const dryRun = options.dryRun === true;
  const lines: string[] = [];
  const say = (text: string): void => {
    lines.push(text);
    if (options.json !== true) printText(`${text}\n`);
  };
  const folder = options.state ?? defaultHome;
  const runDirectory = options.ovsRunDir ?? process.env['OVS_RUNDIR'] ?? defaultRunDirectory;
  const regions = regionsIn(options.region);
  const found = await reachable(regions, options.caFingerprint);
  say(`region     ${found.address} shows the authority of the invitation`);
  const encapsulation = options.encapIp ?? found.localAddress.replace(/^::ffff:/, '');
  const rows = await probeHost(runDirectory, encapsulation);
  for (const { feature, state, detail } of rows)
    say(`${state === 'yes' ? 'ok        ' : 'missing   '} ${feature}: ${detail}`);
  demand(rows);

  const before = readHome(folder);
  if (before !== null && before.authority !== found.authority) {
    throw new Failure(1, `This machine is host ${before.name} of another region.`, {
      remedy: `Remove it there, end its agent, and delete ${folder}.`,
    });
  }
  const remotes = options.ovnRemote?.split(',');
  if (dryRun) {
    const name = before?.name ?? 'NAME';
    if (before === null)
      say(`would      join: a key is made here, and ${found.address} certifies it for the name of the invitation`);
    const southbound = remotes ?? before?.southbound ?? ['(as the region says)'];
    for (const line of await setUp({ runDirectory, name, southbound, encapsulation }, true)) say(`would      ${line}`);
    if (options.json === true) printJson({ dryRun, steps: lines });
    return;
  }
  const home =
    before === null
      ? await joined(options, { folder, found, regions, remotes, encapsulation, runDirectory })
      : { ...before, regions, encapsulation, runDirectory, southbound: remotes ?? before.southbound };
  writeHome(folder, home);
  say(
    `${before === null ? 'joined     as' : 'joined     before, as'} ${home.name}; key and certificate are in ${folder}`,
  );
  const { name, southbound } = home;
  if (southbound.length === 0) {
    throw new Failure(
      2,
      `This machine has joined as ${name}; where the southbound database is the region does not say.`,
      {
        remedy: 'Run the same line again with --ovn-remote tcp:HOST:6642,…: it goes on from here.',
      },
    );
  }
  try {
    const done = await setUp({ runDirectory, name, southbound, encapsulation }, false);
    for (const line of done) say(`set        ${line}`);
    if (done.length === 0) say('ok         Open vSwitch: every setting is right already');
  } catch (error) {
    throw new Failure(2, `This machine has joined as ${name}, but Open vSwitch could not be told: ${said(error)}`, {
      remedy: 'Mend that, and run the same line again: it goes on from here.',
    });
  }
  if (options.json === true) return printJson({ name, regions, southbound, encapsulation, steps: lines });
  printNote('Now start its agent: isthmus host agent, or the unit isthmus-host of systemd.');
}

interface Joining {
  readonly folder: string;
  readonly found: Found & { readonly address: string };
  readonly regions: readonly string[];
  readonly remotes: readonly string[] | undefined;
  readonly encapsulation: string;
  readonly runDirectory: string;
}
async function joined(options: JoinOptions, of: Joining): Promise<Home> {
  const { folder, found, regions, remotes, encapsulation, runDirectory } = of;
  const key = joiningKey(folder, makeKey);
  // The first once more at the end: it may be the only one, and have lost no more than the connection.
  const addresses = [found.address, ...regions.filter((one) => one !== found.address), found.address];
  try {
    const answer = await joinAny(addresses, { token: options.token, authority: found.authority, key });
    const { host, installationId, certificate, southbound } = answer;
    return {
      ...{ name: host, installationId, regions, southbound: remotes ?? southbound, encapsulation, runDirectory },
      ...{ key, certificate, authority: found.authority },
    };
  } catch (error) {
    if (error instanceof DriverError) throw new Failure(1, said(error));
    throw new Failure(2, `Whether this machine has joined is not known: ${said(error)}.`, {
      remedy: `Run the same line again: with the key in ${folder} the token is answered again until it expires.`,
    });
  }
}
