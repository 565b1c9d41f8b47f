/** What was asked and answered, and what the clients know of the region from that: which things there are, and where. */
import type { HalfId, PortId, RouteRuleId, RouteTableId, SubnetId, VpcId } from '../../src/model/ids.ts';
import { prefix } from '../wire/sketch.ts';
import { type Answer, type Asked, isQuestion, isTag } from './caller.ts';

/** One question or command, as its client saw it. */
export interface Deed {
  readonly asked: Asked;
  readonly called: number;
  /** The newest revision that anybody had been told when it was called. */
  readonly told: number;
  /** Of a question: whether the server must know that revision. */
  readonly demanding: boolean;
  /** null: nobody was told how it ended. */
  readonly end: { readonly returned: number; readonly answer: Answer } | null;
}

/** A VPC that clients work on. Ids are kept when their objects are gone: they are asked for all the same. */
export class Site {
  readonly vpcId: VpcId;
  /** Its ranges follow from it, and overlap no other site's. */
  readonly number: number;
  readonly tableId: RouteTableId;
  readonly subnets: SubnetId[] = [];
  readonly ports: PortId[] = [];
  readonly ruleIds: RouteRuleId[] = [];
  /** Of its own halves, by the VPC they lead to. */
  readonly halves = new Map<VpcId, HalfId>();
  /** Somebody has asked for its end. */
  ending = false;

  constructor(vpcId: VpcId, number: number, tableId: RouteTableId) {
    this.vpcId = vpcId;
    this.number = number;
    this.tableId = tableId;
  }
  static rangeOf = (number: number) => prefix(`10.${number}.0.0/16`);
  range(n: number) {
    return prefix(`10.${this.number}.${n}.0/24`);
  }
  /** Beside the one that it is made with. */
  cidr(n: number) {
    return prefix(`172.${16 + n}.${this.number}.0/24`);
  }
}

const pairOf = (one: string, other: string): string => `pair ${[one, other].sort().join('|')}`;

export class Notebook {
  readonly deeds: Deed[] = [];
  readonly sites: Site[] = [];
  readonly #rangeOf = new Map<string, string>();
  readonly #pairOf = new Map<string, string>();
  readonly #vpcOfTable = new Map<string, string>();
  readonly #tags = new Map<string, string>();

  site(site: Site): void {
    this.sites.push(site);
    this.#vpcOfTable.set(site.tableId, site.vpcId);
  }
  tagOf(ruleId: RouteRuleId): string {
    return this.#tags.get(ruleId) ?? '';
  }

  write(deed: Deed): void {
    this.deeds.push(deed);
    const { asked, end } = deed;
    if (end !== null) this.#learn(asked, end.answer);
  }
  #learn(asked: Asked, { made, output, body }: Answer): void {
    const at = (vpcId: string | undefined): Site | undefined => this.sites.find((site) => site.vpcId === vpcId);
    switch (asked.kind) {
      case 'create-subnet':
        if (made === null) return;
        this.#rangeOf.set(made, `range ${asked.vpcId}|${asked.cidrs[0]}`);
        at(asked.vpcId)?.subnets.push(made as SubnetId);
        return;
      case 'create-interface': {
        if (made === null) return;
        const range = this.#rangeOf.get(asked.subnetId) ?? '';
        this.#rangeOf.set(made, range);
        at(this.vpcsOf(range)[0])?.ports.push(made as PortId);
        return;
      }
      case 'create-peering':
        if (made === null) return;
        this.#pairOf.set(made, pairOf(asked.vpcId, asked.remoteVpcId));
        at(asked.vpcId)?.halves.set(asked.remoteVpcId, made as HalfId);
        return;
      case 'delete-vpc': {
        const site = at(asked.vpcId);
        if (site !== undefined && output === 'done') site.ending = true;
        return;
      }
      case 'read-table':
        for (const { ruleId, description } of body.result?.routeTable?.routeTableRules ?? []) {
          if (!isTag(description) || this.#tags.has(ruleId)) continue;
          this.#tags.set(ruleId, description);
          at(this.#vpcOfTable.get(asked.routeTableId))?.ruleIds.push(ruleId as RouteRuleId);
        }
    }
  }

  /** Names of the objects that a deed is about, but for what goes with a VPC. */
  objectsOf({ asked, end }: Deed): readonly string[] {
    const known = (name: string | undefined): readonly string[] => (name === undefined ? [] : [name]);
    switch (asked.kind) {
      case 'create-vpc':
        return known(end?.answer.made == null ? undefined : `vpc ${end.answer.made}`);
      case 'modify-vpc':
      case 'add-cidr':
      case 'remove-cidr':
      case 'delete-vpc':
      case 'read-vpc':
        return [`vpc ${asked.vpcId}`];
      case 'create-subnet':
        return [`range ${asked.vpcId}|${asked.cidrs[0]}`];
      case 'delete-subnet':
      case 'create-interface':
      case 'read-ports':
        return known(this.#rangeOf.get(asked.subnetId));
      case 'delete-interface':
        return known(this.#rangeOf.get(asked.portId));
      case 'add-routes': {
        // Its next hop is gone: that is not the table's to know.
        const missing = end?.answer.missing;
        return missing === undefined || missing === asked.routeTableId ? [`table ${asked.routeTableId}`] : [];
      }
      case 'remove-routes':
      case 'read-table':
        return [`table ${asked.routeTableId}`];
      case 'create-peering':
        return [pairOf(asked.vpcId, asked.remoteVpcId)];
      case 'delete-peering':
      case 'read-half':
        return known(this.#pairOf.get(asked.halfId));
    }
  }
  /** VPCs with which an object goes. */
  vpcsOf(name: string): readonly string[] {
    const [kind, id = ''] = name.split(' ');
    if (kind === 'range') return id.split('|').slice(0, 1);
    if (kind === 'table') return [this.#vpcOfTable.get(id) ?? ''];
    return kind === 'pair' ? id.split('|') : [];
  }

  /** Answered commands that changed nothing are in it too. */
  get answered(): readonly (Deed & { readonly end: NonNullable<Deed['end']> })[] {
    return this.deeds.filter((deed): deed is Deed & { end: NonNullable<Deed['end']> } => deed.end !== null);
  }
  get lost(): readonly Deed[] {
    return this.deeds.filter(({ asked, end }) => end === null && !isQuestion(asked));
  }
}
