/**
 * `isthmus up`: the service on this host. Starts the agent (privileged, no TCP) and the region (TCP, no privilege),
 * restarts either alone when it dies, and ends both on a signal, leaving the network running.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { checkHostsAddress, checkListening, checkMetricsAddress, ListenError } from '../api/address.ts';
import { defaultRetention } from '../region/meter.ts';
import { Failure } from './failure.ts';
import { Keeper } from './keeper.ts';
import { printText } from './output.ts';
import {
  isRoot,
  onEnd,
  type PlaceOptions,
  type Places,
  placeOptions,
  placesOf,
  type ServiceUser,
  serviceUser,
} from './places.ts';

export interface UpOptions extends PlaceOptions {
  readonly listen: string;
  readonly region: string;
  readonly driver: string;
  readonly user?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecure?: boolean;
  readonly metrics?: string;
  readonly usageRetention?: string;
  readonly store?: string;
  readonly log?: string;
  readonly ovnNb?: string;
  readonly ovnSb?: string;
  readonly ovnCa?: string;
  readonly ovnCert?: string;
  readonly ovnKey?: string;
  readonly hostsListen?: string;
  readonly hostsAdvertise?: string;
}

export const regionOptions = (command: Command): Command =>
  placeOptions(
    command
      .option('--listen <address>', 'where tenants connect', '127.0.0.1:7788')
      .option('--region <name>', 'name of the region', 'local-1')
      .option('--driver <name>', 'ebpf, ovn for many hosts, or fake for a network in memory', 'ebpf')
      .option('--ovn-nb <remotes>', "OVN's northbound database: unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT, by commas")
      .option('--ovn-sb <remotes>', 'its southbound database, as the hosts reach it too')
      .option('--ovn-ca <file>', 'for ssl: who vouches for the databases')
      .option('--ovn-cert <file>', 'for ssl: our certificate')
      .option('--ovn-key <file>', 'for ssl: its key')
      .option('--hosts-listen <address>', 'where hosts call in (default 127.0.0.1:7790)')
      .option(
        '--hosts-advertise <addresses>',
        'as hosts reach all servers of the region, by commas (default: this one)',
      )
      .option('--data <path>', 'the store (default /var/lib/isthmus)')
      .option(
        '--store <url>',
        'keep the store in PostgreSQL: postgres://user@host/database (ISTHMUS_STORE; default: a file in --data)',
      )
      .option('--user <name>', 'whom the region runs as (default isthmus, or a number that nobody has)')
      .option('--tls-cert <file>', 'certificate, needed beyond loopback')
      .option('--tls-key <file>', 'its key; both are read again when they change')
      .option('--insecure', 'plain HTTP beyond loopback')
      .option('--metrics <address>', 'serve Prometheus metrics there, e.g. 127.0.0.1:7789; nobody is asked who he is')
      .option('--usage-retention <days>', `keep usage hour by hour for so long (default ${defaultRetention / 24})`),
  );

/** Makes the directories of the service, with their owners. Safe to repeat. */
export function prepareDirectories(places: Places, user: ServiceUser): void {
  mkdirSync(places.runDir, { recursive: true, mode: 0o755 });
  mkdirSync(join(places.runDir, 'region'), { recursive: true, mode: 0o700 });
  mkdirSync(places.data, { recursive: true, mode: 0o700 });
  if (!isRoot()) return;
  // The region's user goes through it to a folder of its own, also when a host's agent made it, or a umask took that away.
  const { mode } = statSync(places.runDir);
  if ((mode & 0o011) !== 0o011) chmodSync(places.runDir, (mode & 0o7777) | 0o011);
  chownSync(join(places.runDir, 'region'), user.uid, user.gid);
  chownSync(places.data, user.uid, user.gid);
  // After a change of user the files of the store change hands too. The directory is the user's, who may have laid a
  // link there to a file that is not: links are not followed, and what has a second name elsewhere is left alone.
  for (const path of readdirSync(places.data).map((name) => join(places.data, name))) {
    const { uid, nlink } = lstatSync(path);
    if (uid !== user.uid && nlink === 1) lchownSync(path, user.uid, user.gid);
  }
}

/** What the service's processes get of ours: nothing that an operator keeps there is theirs to know. */
const environment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.entries(process.env).filter(([name]) => /^(PATH|TZ|LANG|LC_\w+|TMPDIR|NODE_CHANNEL_\w+)$/.test(name)),
  );

/**
 * Where the region's store is, and how PostgreSQL's own tools are told of passwords and certificates. Never an argument,
 * which every user of the host could read.
 */
export function storeEnvironment(options: UpOptions): NodeJS.ProcessEnv {
  const store = options.store ?? process.env['ISTHMUS_STORE'];
  if (store === undefined) return {};
  return {
    ISTHMUS_STORE: store,
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => /^PG[A-Z]+$/.test(name))),
  };
}

/** A log grows to this many bytes; then it becomes the `.1` beside it. Its writers append, so it can be emptied under them. */
const mostLog = 32 * 1024 * 1024;
function keepLogSmall(path: string): NodeJS.Timeout {
  return setInterval(() => {
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) < mostLog) return;
    copyFileSync(path, `${path}.1`);
    truncateSync(path);
  }, 5000).unref();
}

/** What the region may do until it has become its user; after that it has no capability at all. */
const regionCapabilities = ['setuid', 'setgid', 'chown', 'dac_override'];

/** The command that starts the region's process. */
export function regionCommand(
  options: UpOptions,
  places: Places,
  user: ServiceUser,
): { readonly file: string; readonly args: readonly string[] } {
  const bounds = regionCapabilities.map((name) => `+${name}`).join(',');
  const narrowed = ['--no-new-privs', '--inh-caps=-all', `--bounding-set=-all,${bounds}`, process.execPath];
  const args = regionArguments(options, places, user);
  return isRoot() ? { file: 'setpriv', args: [...narrowed, ...args] } : { file: process.execPath, args };
}

function regionArguments(options: UpOptions, places: Places, user: ServiceUser): readonly string[] {
  const optional = (name: string, value: string | undefined): string[] =>
    value === undefined ? [] : [`--${name}=${value}`];
  return [
    '--disable-warning=ExperimentalWarning',
    fileURLToPath(new URL('../api/main.ts', import.meta.url)),
    `--run-dir=${places.runDir}`,
    `--data=${places.data}`,
    `--listen=${options.listen}`,
    `--region=${options.region}`,
    `--driver=${options.driver}`,
    ...(isRoot() ? [`--uid=${user.uid}`, `--gid=${user.gid}`] : []),
    ...optional('tls-cert', options.tlsCert),
    ...optional('tls-key', options.tlsKey),
    ...(options.insecure === true ? ['--insecure'] : []),
    ...optional('metrics', options.metrics),
    ...optional('usage-retention', options.usageRetention),
    ...optional('ovn-nb', options.ovnNb),
    ...optional('ovn-sb', options.ovnSb),
    ...optional('ovn-ca', options.ovnCa),
    ...optional('ovn-cert', options.ovnCert),
    ...optional('ovn-key', options.ovnKey),
    ...optional('hosts-listen', options.hostsListen),
    ...optional('hosts-advertise', options.hostsAdvertise),
  ];
}

/** What the region says when it is up. */
export interface Ready {
  readonly url: string;
  readonly admin: string;
  /** Where metrics are served, if they are. */
  readonly metrics?: string;
  /** Where hosts call in, if there are any: by commas. */
  readonly hosts?: string;
}

export interface Service {
  readonly ready: Ready;
  readonly places: Places;
  /** Process ids, for tests that kill one. */
  pids(): { readonly agent: number | undefined; readonly region: number | undefined };
  stop(): Promise<void>;
}

/**
 * Starts the service and answers when it is up.
 * @throws Failure when something is missing or another one runs
 */
export async function startService(options: UpOptions, say: (text: string) => void): Promise<Service> {
  const places = placesOf(options);
  demandOptions(options);
  if (options.driver === 'ebpf') await demandKernel();
  const user = isRoot()
    ? serviceUser(options.user, places.namespace)
    : { name: '', uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  prepareDirectories(places, user);
  const logPath = options.log ?? join(places.runDir, 'isthmus.log');
  const logFd = logPath === '-' ? 2 : openSync(logPath, 'a', 0o640);
  const logStart = logPath === '-' ? 0 : statSync(logPath).size;
  const stdio = ['ignore', logFd, logFd, 'ipc'] as const;
  const logTimer = logPath === '-' ? undefined : keepLogSmall(logPath);
  const keepers: Keeper[] = [];
  const stop = async (): Promise<void> => {
    for (const keeper of [...keepers].reverse()) await keeper.stop();
    clearInterval(logTimer);
    if (logFd !== 2) closeSync(logFd);
    if (ours) rmSync(join(places.runDir, 'up.pid'), { force: true });
  };
  let ours = false;
  try {
    let agent: Keeper | undefined;
    if (options.driver === 'ebpf') {
      const { prepareAgent } = await import('../agent/ebpf-launch.ts');
      // Made anew with every start, in case somebody took the namespace or the mount away.
      const start = (): ChildProcess => {
        const { runDir, namespace } = places;
        const { file, args } = prepareAgent({ runDir, namespace, uid: user.uid, gid: user.gid });
        return spawn(file, args, { stdio: [...stdio], detached: true, env: environment() });
      };
      agent = new Keeper({ name: 'agent', start }, say);
      keepers.push(agent);
      await agent.start();
    }
    const { file, args } = regionCommand(options, places, user);
    const region = new Keeper(
      {
        name: 'region',
        start: () =>
          spawn(file, args, {
            stdio: [...stdio],
            detached: true,
            env: { ...environment(), ...storeEnvironment(options) },
          }),
      },
      say,
    );
    keepers.push(region);
    const ready = (await region.start()) as Ready;
    writeFileSync(join(places.runDir, 'up.pid'), `${process.pid}\n`);
    ours = true;
    return { ready, places, pids: () => ({ agent: agent?.pid, region: region.pid }), stop };
  } catch (error) {
    await stop();
    throw new Failure(2, `The service did not start: ${error instanceof Error ? error.message : String(error)}.`, {
      lines: lastWords(logPath, logStart),
      remedy: logPath === '-' ? '' : `The whole log: ${logPath}. What the host lacks: isthmus doctor.`,
    });
  }
}

/** @throws Failure naming the option that is wrong, before anything is made */
export function demandOptions(options: UpOptions): void {
  if (!['ebpf', 'ovn', 'fake'].includes(options.driver)) {
    throw new Failure(2, `--driver '${options.driver}' is not known.`, { remedy: 'Use ebpf, ovn or fake.' });
  }
  if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(options.region)) {
    throw new Failure(2, `--region '${options.region}' is not a name.`, { remedy: 'Use a-z, 0-9 and -, at most 32.' });
  }
  if (options.usageRetention !== undefined && !/^[1-9][0-9]{0,4}$/.test(options.usageRetention)) {
    const remedy = 'Give a number of days, 1 to 99999.';
    throw new Failure(2, `--usage-retention '${options.usageRetention}' is not a number of days.`, { remedy });
  }
  const { ISTHMUS_STORE: store } = storeEnvironment(options);
  if (store !== undefined && !isStoreUrl(store)) {
    const remedy = 'Give postgres://user@host/database, or leave it out for a file in --data.';
    throw new Failure(2, '--store is not the URL of a PostgreSQL database.', { remedy });
  }
  demandAddress(options);
  demandOvn(options);
}

/** Not what URL takes: libpq's may leave the host out, for a socket. */
export const isStoreUrl = (text: string): boolean => /^postgres(ql)?:\/\/[^\s]+$/.test(text);

/** @throws Failure before anything is made */
function demandAddress({ listen, tlsCert, tlsKey, insecure, metrics }: UpOptions): void {
  try {
    checkListening({ address: listen, tlsCert, tlsKey, insecure });
    if (metrics !== undefined) checkMetricsAddress(metrics);
  } catch (error) {
    if (!(error instanceof ListenError)) throw error;
    throw new Failure(2, error.message, { remedy: error.remedy });
  }
}

const remoteForm = /^(unix:\/.+|(tcp|ssl):(\[[0-9a-fA-F:]+\]|[^:[\]]+):[0-9]{1,5})$/;
/** @throws Failure unless what OVN needs is there, and only then */
function demandOvn(options: UpOptions): void {
  const { driver, ovnNb, ovnSb, ovnCa, ovnCert, ovnKey, hostsListen, hostsAdvertise } = options;
  const given = [ovnNb, ovnSb, ovnCa, ovnCert, ovnKey, hostsListen, hostsAdvertise].some((one) => one !== undefined);
  if (driver !== 'ovn') {
    if (given) throw new Failure(2, 'Hosts and OVN are of --driver ovn alone.', { remedy: 'Say --driver ovn.' });
    return;
  }
  for (const [name, text] of [
    ['--ovn-nb', ovnNb],
    ['--ovn-sb', ovnSb],
  ] as const) {
    const remedy = 'Write unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT, several by commas.';
    if (text === undefined)
      throw new Failure(2, `${name} is missing: the OVN driver needs both databases.`, { remedy });
    const bad = text.split(',').find((remote) => !remoteForm.test(remote));
    if (bad !== undefined) throw new Failure(2, `${name}: '${bad}' is not a remote of OVSDB.`, { remedy });
  }
  const pki = [ovnCa, ovnCert, ovnKey].filter((one) => one !== undefined);
  const secure = `${ovnNb},${ovnSb}`.split(',').find((remote) => remote.startsWith('ssl:'));
  if (pki.length < 3 && (secure !== undefined || pki.length > 0)) {
    const remedy = 'Give --ovn-ca, --ovn-cert and --ovn-key.';
    throw new Failure(2, `The certificates for ${secure ?? 'ssl: remotes'} are not complete.`, { remedy });
  }
  try {
    for (const address of [hostsListen ?? [], hostsAdvertise?.split(',') ?? []].flat()) checkHostsAddress(address);
  } catch (error) {
    if (!(error instanceof ListenError)) throw error;
    throw new Failure(2, error.message, { remedy: error.remedy });
  }
}

/** The last fatal lines of a log, if they say something. @param start where this run's part of it begins */
function lastWords(path: string, start: number): readonly string[] {
  if (path === '-') return [];
  const lines = readFileSync(path).subarray(start).toString().trim().split('\n').slice(-20);
  const fatal = lines
    .map((line) => {
      try {
        const { level, msg } = JSON.parse(line) as { level?: number; msg?: string };
        return level !== undefined && level >= 60 ? msg : undefined;
      } catch {
        return /Error/.test(line) ? line.trim() : undefined;
      }
    })
    .filter((line) => line !== undefined);
  return fatal.slice(-2);
}

/** @throws Failure naming each thing that the host lacks */
async function demandKernel(): Promise<void> {
  if (!isRoot()) {
    throw new Failure(2, 'The eBPF driver needs root.', {
      remedy: 'Run it with sudo, or play in memory: --driver fake.',
    });
  }
  const { EbpfDriver } = await import('../agent/ebpf-commands.ts');
  const missing = (await EbpfDriver.probe()).filter(({ state, required }) => required && state !== 'yes');
  if (missing.length === 0) return;
  throw new Failure(2, 'This host lacks what the eBPF driver needs.', {
    lines: missing.map(({ feature, detail }) => `${feature}: ${detail}`),
    remedy: 'Mend that, or play in memory: --driver fake.',
  });
}

export function register(program: Command): void {
  regionOptions(program.command('up').description('run the service on this host'))
    .option('--log <file>', "where its processes write their log, '-' for here")
    .action(async (options: UpOptions) => {
      const service = await startService(options, (text) => void process.stderr.write(`isthmus: ${text}\n`));
      const sudo = isRoot() ? 'sudo ' : '';
      const here = options.instance === undefined ? '' : ` --instance ${options.instance}`;
      printText(
        [
          `Isthmus is up: region ${options.region}, ${options.driver} data plane.`,
          `  tenants  ${service.ready.url}`,
          `  operator ${service.ready.admin}`,
          ...(service.ready.metrics === undefined ? [] : [`  metrics  ${service.ready.metrics}`]),
          ...(service.ready.hosts === undefined ? [] : [`  hosts    ${service.ready.hosts}`]),
          '',
          'In another terminal:',
          `  ${sudo}isthmus account create red${here}`,
          `  ${sudo}isthmus key create red --save-profile red${here}`,
          '  isthmus --help',
          '',
          options.driver === 'ovn' || storeEnvironment(options)['ISTHMUS_STORE'] !== undefined
            ? 'Ctrl-C stops the service; the network keeps running. How to end a region for good: docs/cluster.md.'
            : `Ctrl-C stops the service; the network keeps running. ${sudo}isthmus down --purge --yes${here} removes it.`,
          '',
        ].join('\n'),
      );
      await new Promise<void>((resolve) => onEnd(() => resolve()));
      await service.stop();
      printText('The service is stopped. The network keeps running.\n');
    });
}
