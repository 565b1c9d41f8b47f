/**
 * A running region: queue → decide → commit → fold → follow → reply. The only writer of its state. Commands are ordered
 * by arrival, never refused for being concurrent; a reply waits for the data plane's fence. Where other servers write to
 * the same store, what they wrote is folded in as it comes, and a command that one of them overtook is decided anew.
 */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { compileAll, compileVpc } from '../compile/compile.ts';
import { CompiledView } from '../compile/compiled-view.ts';
import { dirtyVpcs } from '../compile/dirty.ts';
import type { AttachmentFact, Counters, ProbeRow } from '../dataplane/driver.ts';
import type { Plane } from '../dataplane/plane.ts';
import type { Packet, Verdict } from '../explain/explain.ts';
import type { Health } from '../explain/health.ts';
import { preview } from '../explain/preview.ts';
import { isRefusal, type Refusal, refuse } from '../model/errors.ts';
import type { AccountId, HalfId, Ids, PortId, VpcId } from '../model/ids.ts';
import {
  type Change,
  type ClientToken,
  type CommandResult,
  type PeeringHalf,
  type Resource,
  resourceKinds,
} from '../model/resources.ts';
import { State, type StateView } from '../model/state.ts';
import type { Command, NetworkCommand } from '../rules/commands.ts';
import { decide } from '../rules/decide.ts';
import type { Decision } from '../rules/draft.ts';
import { Overlay } from '../rules/overlay.ts';
import {
  type SecretChange,
  type Snapshot,
  type Store,
  type StoredEntry,
  StoreUnavailableError,
} from '../store/store.ts';
import { Feed } from './feed.ts';
import { Follower } from './follower.ts';
import { HealthBook } from './health-book.ts';
import { freshSecret, PlannedIds, systemIds } from './ids.ts';
import { LedPlane } from './led-plane.ts';
import { Meter, type MeterOptions } from './meter.ts';
import { type Behind, isBehind, OwedBook, type OwedSubject } from './owed-book.ts';
import type {
  CommandContext,
  JournalEntry,
  NetworkPlan,
  Outcome,
  Plan,
  Principal,
  RegionService,
  RegionStatus,
} from './service.ts';
import { UnknownIdGuard } from './unknown-ids.ts';

export interface RegionOptions {
  readonly name: string;
  readonly version: string;
  readonly store: Store;
  readonly plane: Plane;
  readonly ids?: Ids;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
  /** Client tokens that are remembered for one account, default 10 000. */
  readonly mostTokens?: number;
  /** How often usage is booked, and how long its hours are kept. */
  readonly metering?: Pick<MeterOptions, 'period' | 'retention'>;
}

/** How long a client token is remembered, in milliseconds. */
const tokenLife = 24 * 3600 * 1000;
const driftKept = 100;
/** Entries of the journal from before the start that the event feed can still tell. */
const remembered = 1000;
/** Entries of other servers that are folded in at a time. */
const together = 500;
/** Milliseconds between two looks for entries whose announcement was lost. */
const lookAgain = 5_000;
/** What makes something new with every call; anything else is the same done twice. */
const repeatable = ({ kind }: Command): boolean => kind.startsWith('create-') || kind === 'assign-secondary';

/** VPC ids that a command may be guessing at. */
const remotesOf = (command: Command): readonly string[] =>
  command.kind === 'create-peering'
    ? [command.remoteVpcId]
    : command.kind === 'apply-network'
      ? command.network.peerings.map(({ remote }) => remote)
      : [];

/** What a change makes, changes or deletes that has a secret. */
function keyIdOf(change: Change): readonly string[] {
  const { kind, id } = change.op === 'put' ? change.resource : change;
  return kind === 'key' || kind === 'host-authority' ? [id] : [];
}

/** Kinds of what a command can have made or changed in a VPC. */
const inVpcs = ['vpc', 'subnet', 'route-table', 'peering', 'interface'] as const;

interface CarriedOut {
  readonly outcome: Outcome;
  /** VPCs of which the reply waits for the plane. */
  readonly dirty: ReadonlySet<VpcId> | null;
  /** Whether it was committed; otherwise nothing was to be changed. */
  readonly stored: boolean;
}

type Before = (kind: Resource['kind'], id: string) => Resource | undefined;

/** What changes are about to delete or replace, as it is. */
function beforeOf(changes: readonly Change[], state: StateView): Before {
  const before = new Map<string, Resource>();
  for (const change of changes) {
    const { kind, id } = change.op === 'put' ? change.resource : change;
    const old = state.get(kind, id) as Resource | undefined;
    if (old !== undefined) before.set(`${kind}|${id}`, old);
  }
  return (kind, id) => before.get(`${kind}|${id}`);
}

const isoTime = (milliseconds: number): string => `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
const hashOf = (command: Command): string => createHash('sha256').update(JSON.stringify(command)).digest('hex');

export class Region implements RegionService {
  readonly name: string;
  readonly meter: Meter;
  readonly #options: RegionOptions;
  readonly #store: Store;
  readonly #plane: Plane;
  /** One command at a time, and between two what others wrote. */
  #turn: Promise<unknown> = Promise.resolve();
  #look: NodeJS.Timeout | undefined;
  #nextLook: Promise<void> | null = null;
  readonly #state = new State();
  readonly view = new CompiledView(this.#state);
  readonly #secrets: Map<string, string>;
  readonly #follower: Follower;
  readonly #guard: UnknownIdGuard;
  readonly feed: Feed;
  readonly #health: HealthBook;
  readonly #owed: OwedBook;
  /** When the meter last saw packets of a half, in milliseconds since the epoch. */
  readonly #carried = new Map<HalfId, number>();
  readonly #attachments = new Map<string, AttachmentFact>();
  readonly #changesListeners: ((changes: readonly Change[]) => void)[] = [];
  readonly #drift: { time: string; what: string }[] = [];
  /** When an account's tokens were last looked through. */
  readonly #swept = new Map<AccountId, number>();
  readonly #clock: () => number;
  readonly #ids: Ids;
  readonly #mostTokens: number;

  private constructor(options: RegionOptions, snapshot: Snapshot, newest: readonly StoredEntry[]) {
    this.name = options.name;
    this.#options = options;
    this.#store = options.store;
    const { others, leadership } = options.store;
    this.#plane = new LedPlane(options.plane, leadership);
    this.#clock = options.clock ?? Date.now;
    this.#ids = options.ids ?? systemIds;
    this.#mostTokens = options.mostTokens ?? 10_000;
    this.#guard = new UnknownIdGuard(this.#clock);
    this.#state.apply(
      [...snapshot.resources].map((resource) => ({ op: 'put', resource })),
      snapshot.revision,
    );
    this.#secrets = new Map(snapshot.secrets);
    this.feed = new Feed(this.#state.revision);
    this.feed.remember(newest.filter(({ revision }) => revision <= snapshot.revision));
    this.#owed = new OwedBook(this.#clock, (vpcId) => this.#state.get('vpc', vpcId)?.accountId, {
      touched: (vpcId, quiet) => (quiet ? this.#health.forget([vpcId]) : this.#health.touch([vpcId])),
      news: (subject, behind) => this.#toldOfHosts(subject, behind),
    });
    this.#owed.doubt(this.#state.all('peering'), this.#state.revision);
    this.#health = new HealthBook(
      this.#state,
      (caller) => ({
        state: this.#state,
        view: this.view,
        workload: (id) => this.attachment(id),
        behind: (id) => this.behind(id),
        caller,
      }),
      (half, health) => {
        const blockers = health?.pairs.flatMap((pair) => pair.blockers.map(({ text }) => text)) ?? [];
        this.feed.happened(half.accountId, isoTime(this.#clock()), {
          event: 'health',
          vpcPeeringId: half.id,
          health: health?.state ?? null,
          reasons: [...new Set(blockers)].slice(0, 8),
        });
      },
    );
    this.#health.start();
    this.#follower = new Follower(this.#plane, {
      revision: () => this.#state.revision,
      compile: (vpcId) => compileVpc(this.#state, vpcId),
      all: () => compileAll(this.#state).vpcs,
      owed: (owed, revision) => this.#owed.take(owed, revision),
    });
    const read: MeterOptions['read'] = (booked) => this.#plane.meter(booked);
    const leads = (): boolean => leadership.leads;
    this.meter = new Meter({ books: options.store.usage, read, clock: this.#clock, leads, ...options.metering });
    leadership.onChange(() => this.meter.forget());
    others?.onNews(() => this.#hear());
    if (others !== null) this.#look = setInterval(() => this.#hear(), lookAgain).unref();
    this.meter.onBooked((bookings) => {
      const time = this.meter.bookedUntil ?? this.#clock();
      for (const { halfId } of bookings) {
        if (this.#state.get('peering', halfId) === undefined) this.#carried.delete(halfId);
        else this.#carried.set(halfId, time);
      }
    });
    this.#plane.onAttachment((portId, fact) => {
      if (fact === null) this.#attachments.delete(portId);
      else this.#attachments.set(portId, fact);
      const port = this.#state.get('interface', portId);
      const owner = port?.accountId;
      if (owner === undefined) return;
      if (port !== undefined) this.#health.touch([port.vpcId]);
      const state = fact === null ? 'detached' : fact.up === false && fact.state === 'attached' ? 'down' : fact.state;
      this.feed.happened(owner, isoTime(this.#clock()), { event: 'attachment', networkInterfaceId: portId, state });
    });
    this.#plane.onDrift((what) => {
      this.#drift.push({ time: isoTime(this.#clock()), what });
      if (this.#drift.length > driftKept) this.#drift.shift();
    });
  }

  /**
   * Folds the state from the store and brings the plane to it. A plane that cannot be reached is no reason not to start:
   * reads work, commands are committed and answered as pending.
   */
  static async start(options: RegionOptions): Promise<Region> {
    const snapshot = await options.store.snapshot();
    const region = new Region(options, snapshot, await options.store.entriesAfter(null, remembered));
    await region.#follower.start();
    await region.refreshAttachments().catch(() => {});
    region.meter.start();
    return region;
  }

  get state(): State {
    return this.#state;
  }

  /** Called with what was folded in, by whichever server it was written. */
  onChanges(listener: (changes: readonly Change[]) => void): void {
    this.#changesListeners.push(listener);
  }

  /** Asks the plane for all attachments anew, after it was out of reach. */
  async refreshAttachments(): Promise<void> {
    const facts = await this.#plane.attachments();
    this.#attachments.clear();
    for (const fact of facts) this.#attachments.set(fact.portId, fact);
  }

  async submit(command: Command, context: CommandContext): Promise<Outcome> {
    const { outcome, dirty, stored } = await this.#inTurn(() => this.#carryOut(command, context));
    if (isRefusal(outcome) || dirty === null) return outcome;
    // Nobody waits for what leaves the network alone. But servers wait for the word that their revision is true.
    if (dirty.size === 0 && stored) void this.#follower.follow(outcome.revision, dirty);
    if (dirty.size === 0 || (!stored && this.#holds(outcome.revision, dirty))) return { ...outcome, applied: true };
    const { applied, ...behind } = await this.#follower.follow(outcome.revision, dirty);
    return { ...outcome, applied, ...(isBehind(behind) ? { behind } : {}) };
  }

  /** Whether the plane is known to hold that revision of these VPCs, on every host. */
  #holds(revision: number, vpcIds: ReadonlySet<VpcId>): boolean {
    if (this.#follower.appliedRevision < revision) return false;
    return [...vpcIds].every((vpcId) => this.planeProblem(vpcId) === null && !isBehind(this.behind(vpcId)));
  }

  /**
   * The VPCs that a command which changed nothing speaks of. It was given before, and the plane may not hold that yet: the
   * reply to it says no more than the first one may.
   */
  #spokenOf(command: Command, { id = '' }: CommandResult, accountId: AccountId | null): ReadonlySet<VpcId> | null {
    const there: (Resource | undefined)[] = inVpcs.map((kind) => this.#state.get(kind, id));
    if (command.kind === 'apply-network') {
      const { name } = command.network;
      there.push(...this.#state.children('vpc', accountId ?? '').filter(({ labels }) => labels?.network === name));
    }
    const changes = there.flatMap((resource) => (resource === undefined ? [] : ({ op: 'put', resource } as const)));
    const vpcIds = dirtyVpcs(changes, () => undefined);
    return vpcIds.size === 0 ? null : vpcIds;
  }

  /** Hosts have fallen behind or caught up. */
  #toldOfHosts(subject: OwedSubject, { notFencedOn, notInstalledOn }: Behind): void {
    const { vpcId, accountId } = subject;
    if (accountId === undefined) return;
    const vpcPeeringId = subject.kind === 'half' ? subject.halfId : null;
    const event = { event: 'fence', vpcId, vpcPeeringId, notFencedOn, notInstalledOn } as const;
    this.feed.happened(accountId, isoTime(this.#clock()), event);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => {});
    return run;
  }

  /** Decides and commits. @returns `dirty` null: the plane has nothing to do with it */
  async #carryOut(command: Command, context: CommandContext): Promise<CarriedOut> {
    const accountId = context.principal.kind === 'tenant' ? context.principal.accountId : null;
    // Whether all that was written before this command came is known here. A commit finds that out by itself.
    let current = this.#store.others === null;
    for (;;) {
      const milliseconds = this.#clock();
      const now = isoTime(milliseconds);
      const token = this.#tokenOf(context, accountId, command);
      if (token !== null && 'answer' in token) {
        const outcome = token.answer;
        const dirty = isRefusal(outcome) ? null : this.#spokenOf(command, outcome.result, accountId);
        return { outcome, dirty, stored: false };
      }
      const decision = this.#decide(command, accountId, now, { ids: this.#ids, watch: current });
      if (!current && (isRefusal(decision) || decision.changes.length === 0)) {
        // Nothing to commit, because of what may no longer be so.
        try {
          await this.#catchUp();
        } catch (error) {
          if (!(error instanceof StoreUnavailableError)) throw error;
          return { outcome: refuse('store-unavailable', {}), dirty: null, stored: false };
        }
        current = true;
        continue;
      }
      if (isRefusal(decision)) return { outcome: decision, dirty: null, stored: false };
      const done = { kind: 'done', result: decision.result } as const;
      if (decision.changes.length === 0) {
        const outcome = { ...done, revision: this.#state.revision, applied: this.#follower.problem === null };
        return { outcome, dirty: this.#spokenOf(command, decision.result, accountId), stored: false };
      }
      const changes: Change[] = [...decision.changes];
      if (accountId !== null && token !== null) {
        changes.push(...this.#expiredTokens(accountId, milliseconds)); // first: one of them may be this very token
        changes.push({ op: 'put', resource: { ...token.record, result: decision.result, time: now } });
      }
      const secrets = this.#secretChanges(command, decision.changes);
      const entry: StoredEntry = {
        revision: this.#state.revision + 1,
        time: now,
        account: accountId,
        principal: context.principal.kind === 'tenant' ? context.principal.keyId : 'operator',
        operation: command.kind,
        requestId: context.requestId,
        changes,
      };
      try {
        if ((await this.#store.commit(entry, secrets)) === 'overtaken') {
          await this.#catchUp();
          current = true;
          continue;
        }
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
        const code = error.uncertain ? 'store-uncertain' : 'store-unavailable';
        return { outcome: refuse(code, {}), dirty: null, stored: false };
      }
      const dirty = this.#fold(entry, new Map(secrets.map(({ keyId, secret }) => [keyId, secret])));
      const secret = command.kind === 'create-key' ? secrets[0]?.secret : undefined;
      const outcome = { ...done, revision: entry.revision, applied: true, ...(secret == null ? {} : { secret }) };
      return { outcome, dirty, stored: true };
    }
  }

  /** Takes a committed entry in. @param secrets null of a key that is gone @returns the VPCs that it touches */
  #fold(entry: StoredEntry, secrets: ReadonlyMap<string, string | null>): ReadonlySet<VpcId> {
    const dirty = dirtyVpcs(entry.changes, (kind, id) => this.#state.get(kind, id));
    const before = beforeOf(entry.changes, this.#state);
    this.#state.apply(entry.changes, entry.revision);
    this.view.touch(dirty);
    for (const listener of this.#changesListeners) listener(entry.changes);
    this.feed.changed(entry, before);
    this.#owed.changed(entry.changes, before, entry.revision);
    this.#health.touch(dirty);
    for (const [keyId, secret] of secrets) {
      if (secret === null) this.#secrets.delete(keyId);
      else this.#secrets.set(keyId, secret);
    }
    return dirty;
  }

  async lookFor(keyId: string): Promise<void> {
    if (this.#store.others === null || this.#secrets.has(keyId)) return;
    // One look that begins from now on serves all who ask meanwhile.
    this.#nextLook ??= this.#inTurn(() => {
      this.#nextLook = null;
      return this.#catchUp();
    }).catch(() => {});
    await this.#nextLook;
  }

  /** Somebody else may have written. */
  #hear(): void {
    void this.#inTurn(() => this.#catchUp()).catch(() => {}); // out of reach: the next look has it all
  }

  /** Folds in what other servers wrote. @throws StoreUnavailableError */
  async #catchUp(): Promise<void> {
    for (;;) {
      const entries = await this.#store.entriesAfter(this.#state.revision, together);
      const [first] = entries;
      if (first === undefined) return;
      // The journal forgets an account's oldest entries: then only the whole is sure.
      const whole = entries.every(({ revision }, index) => revision === this.#state.revision + 1 + index);
      if (!whole) return this.#readAnew();
      const keys = entries.flatMap(({ changes }) => changes).flatMap(keyIdOf);
      const secrets = keys.length === 0 ? new Map() : await this.#store.others?.secretsOf(keys);
      for (const entry of entries) {
        const own = entry.changes.flatMap(keyIdOf).map((id) => [id, secrets?.get(id) ?? null] as const);
        void this.#follower.follow(entry.revision, this.#fold(entry, new Map(own)));
      }
    }
  }

  /** Brings the state to the store's by comparing the two. @throws StoreUnavailableError */
  async #readAnew(): Promise<void> {
    const { revision, resources, secrets } = await this.#store.snapshot();
    const kept = new Set<string>();
    const changes: Change[] = [];
    for (const resource of resources) {
      kept.add(`${resource.kind}|${resource.id}`);
      if (!isDeepStrictEqual(this.#state.get(resource.kind, resource.id), resource)) {
        changes.push({ op: 'put', resource });
      }
    }
    for (const kind of resourceKinds) {
      for (const { id } of this.#state.all(kind)) {
        if (!kept.has(`${kind}|${id}`)) changes.push({ op: 'delete', kind, id });
      }
    }
    const dirty = dirtyVpcs(changes, (kind, id) => this.#state.get(kind, id));
    const before = beforeOf(changes, this.#state);
    this.#state.apply(changes, revision);
    this.#secrets.clear();
    for (const [keyId, secret] of secrets) this.#secrets.set(keyId, secret);
    this.view.touch(dirty);
    for (const listener of this.#changesListeners) listener(changes);
    this.feed.begin(revision);
    this.#owed.changed(changes, before, revision);
    this.#health.touch(dirty);
    void this.#follower.follow(revision, dirty);
  }

  async reach(revision: number): Promise<boolean> {
    if (revision > this.#state.revision && this.#store.others !== null) {
      await this.#inTurn(() => this.#catchUp()).catch(() => {});
    }
    return revision <= this.#state.revision;
  }

  async admit(keyId: string, nonce: string, until: number): Promise<'new' | 'replayed' | 'unknown'> {
    const { others } = this.#store;
    if (others === null) return 'new';
    try {
      return (await others.admit(keyId, nonce, until)) ? 'new' : 'replayed';
    } catch (error) {
      if (error instanceof StoreUnavailableError) return 'unknown';
      throw error;
    }
  }

  /** Decides, and watches that nobody finds out by trying what is not his to know: neither ids nor the ranges behind them. */
  #decide(
    command: Command,
    accountId: AccountId | null,
    now: string,
    { ids, watch = true }: { readonly ids: Ids; readonly watch?: boolean },
  ): Decision {
    const remotes = remotesOf(command);
    if (accountId !== null && remotes.length > 0 && this.#guard.exhausted(accountId)) {
      return refuse('too-many-unknown-ids', {});
    }
    const decision = decide(command, { state: this.#state, accountId, now, ids });
    if (watch && isRefusal(decision) && accountId !== null && remotes.length > 0) {
      const unknown = decision.code === 'not-found' && remotes.includes(decision.params['id'] ?? '');
      if (unknown || decision.code === 'peering-overlap-hidden') this.#guard.count(accountId);
    }
    return decision;
  }

  plan(command: Command, principal: Principal): Plan | Refusal {
    const caller = principal.kind === 'tenant' ? principal.accountId : null;
    const decision = this.#decide(command, caller, isoTime(this.#clock()), { ids: new PlannedIds() });
    if (isRefusal(decision)) return decision;
    return this.#preview(decision.changes, caller);
  }

  planNetwork(command: NetworkCommand, principal: Principal): NetworkPlan | Refusal {
    const caller = principal.kind === 'tenant' ? principal.accountId : null;
    const whole: NetworkCommand = { ...command, most: Number.MAX_SAFE_INTEGER };
    // Ids and the time are made up, the same each time, so that equal plans are equal.
    const decision = this.#decide(whole, caller, '', { ids: new PlannedIds() });
    if (isRefusal(decision)) return decision;
    const touched = decision.changes.map((change) => {
      const { kind, id } = change.op === 'put' ? change.resource : change;
      return [this.#state.get(kind, id) ?? null, change];
    });
    const basis = createHash('sha256').update(JSON.stringify(touched)).digest('hex');
    return { ...this.#preview(decision.changes, caller), steps: decision.result.steps ?? 0, basis };
  }

  /** What changes would do, for the eyes of an account or the operator. */
  #preview(changes: readonly Change[], caller: AccountId | null): Plan {
    const overlay = new Overlay(this.#state);
    overlay.apply(changes);
    const workload = (portId: PortId): AttachmentFact | undefined => this.attachment(portId);
    const before = { state: this.#state, view: this.view, workload, caller };
    const after = { state: overlay, view: new CompiledView(overlay), workload, caller };
    const dirty = dirtyVpcs(changes, (kind, id) => this.#state.get(kind, id));
    return { revision: this.#state.revision, ...preview(before, after, overlay.changes, dirty) };
  }

  #tokenOf(
    context: CommandContext,
    accountId: AccountId | null,
    command: Command,
  ): null | { readonly answer: Outcome } | { readonly record: ClientToken } {
    if (context.clientToken === undefined || accountId === null || !repeatable(command)) return null;
    const id = `${accountId}/${context.clientToken}`;
    const commandHash = hashOf(command);
    const known = this.#state.get('client-token', id);
    if (known !== undefined && this.#clock() - Date.parse(known.time) < tokenLife) {
      const answer: Outcome =
        known.commandHash === commandHash
          ? { kind: 'done', result: known.result, revision: this.#state.revision, applied: true }
          : refuse('token-reused', { token: context.clientToken });
      return { answer };
    }
    const { length: live } = this.#state
      .children('client-token', this.#state.count('client-token', accountId) < this.#mostTokens ? '' : accountId)
      .filter(({ time }) => time > isoTime(this.#clock() - tokenLife));
    if (live >= this.#mostTokens) {
      return { answer: refuse('too-many-tokens', { limit: String(this.#mostTokens) }) };
    }
    return { record: { kind: 'client-token', id, accountId, commandHash, result: {}, time: '' } };
  }

  /** Looked for once a minute for each account, since it means to look at all of them. */
  #expiredTokens(accountId: AccountId, now: number): readonly Change[] {
    if (now - (this.#swept.get(accountId) ?? Number.NEGATIVE_INFINITY) < 60_000) return [];
    this.#swept.set(accountId, now);
    const since = isoTime(now - tokenLife);
    return this.#state
      .children('client-token', accountId)
      .filter(({ time }) => time <= since)
      .map(({ id }) => ({ op: 'delete', kind: 'client-token', id }));
  }

  #secretChanges(command: Command, changes: readonly Change[]): readonly SecretChange[] {
    if (command.kind === 'create-host-authority') {
      return changes.flatMap(keyIdOf).map((keyId) => ({ keyId, secret: command.privateKey }));
    }
    return changes.flatMap((change): SecretChange[] => {
      if (change.op === 'delete') return change.kind === 'key' ? [{ keyId: change.id, secret: null }] : [];
      const fresh = change.resource.kind === 'key' && this.#state.get('key', change.resource.id) === undefined;
      return fresh ? [{ keyId: change.resource.id, secret: freshSecret() }] : [];
    });
  }

  secretOf(keyId: string): string | undefined {
    return this.#secrets.get(keyId);
  }

  async journal(query: {
    readonly afterRevision: number | null;
    readonly limit: number;
    readonly account?: AccountId;
  }): Promise<readonly JournalEntry[]> {
    return this.#store.entriesAfter(query.afterRevision, query.limit, query.account);
  }

  counters(): Promise<Counters> {
    return this.#plane.counters();
  }
  attachment(portId: PortId): AttachmentFact | undefined {
    return this.#attachments.get(portId);
  }
  trace(packet: Packet): Promise<Verdict> {
    return this.#plane.trace(packet);
  }
  probe(): Promise<readonly ProbeRow[]> {
    return this.#plane.probe();
  }

  behind(vpcId: VpcId): Behind {
    return this.#owed.of(vpcId);
  }
  notFenced(half: PeeringHalf): readonly string[] {
    return half.state === 'Connected' ? [] : this.#owed.ofHalf(half);
  }

  planeProblem(vpcId: VpcId): string | null {
    return this.#follower.problemOf(vpcId);
  }

  lastCarried(halfId: HalfId): string | null {
    const time = this.#carried.get(halfId);
    return time === undefined ? null : isoTime(time);
  }

  health(half: PeeringHalf): Health | null {
    return this.#health.of(half);
  }

  status(): RegionStatus {
    return {
      region: this.name,
      version: this.#options.version,
      driver: this.#options.plane.driver,
      revision: this.#state.revision,
      appliedRevision: this.#follower.appliedRevision,
      planeProblem: this.#follower.problem,
      storeProblem: this.#store.problem,
      leads: this.#store.leadership.leads,
      owedVpcs: this.#owed.vpcs,
      owed: this.#owed.byHost().map(({ since, ...of }) => ({ ...of, since: isoTime(since) })),
      drift: [...this.#drift],
    };
  }

  /** Stops following; the network stays as it is. */
  async close(): Promise<void> {
    clearInterval(this.#look);
    this.#health.close();
    this.#owed.close();
    this.#follower.close();
    await this.meter.close();
    await this.#plane.close();
    await this.#turn;
    await this.#store.close();
  }
}
