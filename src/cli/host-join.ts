/**
 * `isthmus host join`: checks the machine, finds the region, joins, tells Open vSwitch. Says each thing before it goes on
 * to the next. Everything that can be wrong with the machine is found before the token is spent.
 */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { certificatesOf, type PkiFiles, probeCertificates } from '../agent/host-certificates.ts';
import { foreignClaims } from '../agent/host-claims.ts';
import { defaultHome, type Home, joiningKey, readHome, writeHome } from '../agent/host-home.ts';
import { defaultRunDirectory, ovnDirectoryOf, probeHost, setUp } from '../agent/host-setup.ts';
import { type Found, findRegion, fingerprintForm, joinAny, makeKey, StrangerError, stillKnown } from '../agent/join.ts';
import { splitAddress } from '../agent/region-caller.ts';
import { probeSouthbound } from '../agent/southbound.ts';
import { DriverError, type ProbeRow } from '../dataplane/driver.ts';
import { Failure } from './failure.ts';
import { printJson, printNote, printText } from './output.ts';
import { isRoot } from './places.ts';

export interface JoinOptions {
  readonly region: string;
  readonly token: string;
  readonly caFingerprint: string;
  readonly encapIp?: string;
  readonly name?: string;
  readonly ovnRemote?: string;
  readonly ovnCa?: string;
  readonly ovnCert?: string;
  readonly ovnKey?: string;
  readonly takeOver?: true;
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

/** The files that were given for ovn-controller, as paths that it finds too. @throws Failure for some of them only */
function certificatesIn({ ovnCa, ovnCert, ovnKey }: JoinOptions): PkiFiles | undefined {
  if (ovnCa === undefined && ovnCert === undefined && ovnKey === undefined) return undefined;
  if (ovnCa === undefined || ovnCert === undefined || ovnKey === undefined) {
    throw new Failure(2, 'The certificates are not complete.', { remedy: 'Give --ovn-ca, --ovn-cert and --ovn-key.' });
  }
  return { authority: resolve(ovnCa), certificate: resolve(ovnCert), key: resolve(ovnKey) };
}

/** The first server that shows the region's authority. @throws Failure */
async function reachable(
  regions: readonly string[],
  fingerprint: string,
): Promise<Found & { readonly address: string }> {
  const problems: string[] = [];
  let stranger = false;
  for (const address of regions) {
    try {
      return { address, ...(await findRegion(address, fingerprint)) };
    } catch (error) {
      stranger ||= error instanceof StrangerError;
      problems.push(`${address}: ${said(error)}`);
    }
  }
  if (stranger) {
    throw new Failure(2, 'Who answers shows another authority than that of --ca-fingerprint.', {
      lines: problems,
      remedy: 'Copy the line that host invite prints whole; if it is right, somebody else answers at that address.',
    });
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

/** @throws Failure when Open vSwitch is another's and may not be taken */
async function demandOurs(
  { takeOver, name }: JoinOptions,
  of: Pick<Home, 'runDirectory' | 'southbound'> & { readonly before: Home | null; readonly found: Found },
  say: (text: string) => void,
): Promise<void> {
  const { runDirectory, before, southbound, found } = of;
  const claims = await foreignClaims(runDirectory, {
    southbound: [...southbound, ...(before?.southbound ?? [])],
    // One that has joined gets its name back.
    name: before === null ? name : undefined,
    installationId: before?.installationId ?? found.installationId,
  });
  if (claims.length === 0) return;
  if (takeOver !== true) {
    throw new Failure(1, 'Open vSwitch of this machine belongs to somebody else.', {
      lines: claims,
      remedy:
        'Nothing was changed, and the token is not spent. Take the machine out there first; or join with --take-over, which cuts it off from there.',
    });
  }
  for (const claim of claims) say(`take over  ${claim}`);
}

export async function joinRegion(options: JoinOptions): Promise<void> {
  check(options);
  const certificates = certificatesIn(options);
  const dryRun = options.dryRun === true;
  const lines: string[] = [];
  const say = (text: string): void => {
    lines.push(text);
    if (options.json !== true) printText(`${text}\n`);
  };
  const folder = options.state ?? defaultHome;
  const runDirectory = options.ovsRunDir ?? process.env['OVS_RUNDIR'] ?? defaultRunDirectory;
  const regions = regionsIn(options.region);
  const before = readHome(folder);
  const southbound = options.ovnRemote?.split(',') ?? before?.southbound ?? [];
  if (southbound.length === 0) {
    throw new Failure(2, 'Where the southbound database is was not said.', {
      remedy: 'Copy the line that host invite prints whole, or add --ovn-remote tcp:HOST:6642,…',
    });
  }
  const secure = southbound.filter((remote) => remote.startsWith('ssl:'));
  if (certificates !== undefined && secure.length === 0) {
    throw new Failure(2, `Certificates are for ssl: remotes, and the southbound database is ${southbound.join(',')}.`);
  }
  const found = await reachable(regions, options.caFingerprint);
  say(`region     ${found.address} shows the authority of the invitation`);
  if (before !== null && before.authority !== found.authority) {
    throw new Failure(1, `This machine is host ${before.name} of another region.`, {
      remedy: `Remove it there, end its agent, and delete ${folder}.`,
    });
  }
  const known = before !== null && (await accepted(before, [found.address, ...regions]));
  if (before !== null && !known) {
    say(`removed    the region does not know this machine as ${before.name} any more: it joins anew, with another key`);
  }
  const notes: string[] = [];
  const encapsulation = options.encapIp ?? found.localAddress.replace(/^::ffff:/, '');
  const demandAll = (rows: readonly ProbeRow[]): void => {
    for (const { feature, state, required, detail } of rows) {
      say(`${state === 'yes' ? 'ok        ' : required ? 'missing   ' : 'note      '} ${feature}: ${detail}`);
      if (state !== 'yes' && !required) notes.push(`${feature} ${detail}`);
    }
    demand(rows);
  };
  demandAll(await probeHost(runDirectory, encapsulation));
  await demandOurs(options, { runDirectory, before, southbound, found }, say);
  const used =
    certificates === undefined
      ? await certificatesOf(runDirectory, ovnDirectoryOf(runDirectory))
      : { ...certificates, bootstrap: false };
  if (secure.length > 0) demandAll([await probeCertificates(secure, used)]);
  demandAll([await probeSouthbound(southbound, secure.length > 0 ? used : null)]);

  if (dryRun) {
    const name = (known ? before?.name : options.name) ?? 'NAME';
    if (!known)
      say(`would      join: a key is made here, and ${found.address} certifies it for the name of the invitation`);
    const steps = await setUp({ runDirectory, name, southbound, encapsulation, certificates }, true);
    for (const line of steps) say(`would      ${line}`);
    if (options.json === true) printJson({ dryRun, steps: lines });
    return;
  }
  const settings = { regions, encapsulation, runDirectory, southbound };
  const home = known ? { ...before, ...settings } : await joined(options, folder, found, settings);
  writeHome(folder, home);
  const { name } = home;
  const how = known ? `before, as ${name}: the token was not needed` : `as ${name}`;
  say(`joined     ${how}; key and certificate are in ${folder}`);
  if (options.name !== undefined && options.name !== name) {
    throw new Failure(1, `This machine has joined as ${name}, not as ${options.name}: Open vSwitch was told nothing.`, {
      remedy: `Run the same line again with --name ${name}, if that is right: it goes on from here.`,
    });
  }
  try {
    const done = await setUp({ runDirectory, name, southbound, encapsulation, certificates }, false);
    for (const line of done) say(`set        ${line}`);
    if (done.length === 0) say('ok         Open vSwitch: every setting is right already');
  } catch (error) {
    throw new Failure(2, `This machine has joined as ${name}, but Open vSwitch could not be told: ${said(error)}`, {
      remedy: 'Mend that, and run the same line again: it goes on from here.',
    });
  }
  if (options.json === true) return printJson({ name, regions, southbound, encapsulation, steps: lines });
  for (const note of notes) printNote(`Not yet: ${note}`);
  const again = before !== null && !known;
  printNote(
    again
      ? 'Now restart its agent, which shows the old certificate: systemctl restart isthmus-host, or isthmus host agent.'
      : 'Now start its agent: isthmus host agent, or the unit isthmus-host of systemd.',
  );
}

/** Whether the region still takes the certificate that this machine has. @throws Failure when nobody says */
async function accepted(before: Home, addresses: readonly string[]): Promise<boolean> {
  try {
    return await stillKnown(addresses, before);
  } catch (error) {
    throw new Failure(
      2,
      `Whether the region still knows this machine as ${before.name} cannot be told: ${said(error)}.`,
      {
        remedy: 'Run the same line again: nothing was changed, and the token is not spent.',
      },
    );
  }
}

type Settings = Pick<Home, 'regions' | 'encapsulation' | 'runDirectory' | 'southbound'>;
async function joined(
  options: JoinOptions,
  folder: string,
  found: Found & { readonly address: string },
  settings: Settings,
): Promise<Home> {
  const key = joiningKey(folder, makeKey);
  // The first once more at the end: it may be the only one, and have lost no more than the connection.
  const others = settings.regions.filter((one) => one !== found.address);
  const addresses = [found.address, ...others, found.address];
  try {
    const answer = await joinAny(addresses, { token: options.token, authority: found.authority, key });
    const { host, installationId, certificate } = answer;
    return { name: host, installationId, ...settings, key, certificate, authority: found.authority };
  } catch (error) {
    if (error instanceof DriverError) throw new Failure(1, said(error));
    throw new Failure(2, `Whether this machine has joined is not known: ${said(error)}.`, {
      remedy: `Run the same line again: with the key in ${folder} the token is answered again until it expires.`,
    });
  }
}
