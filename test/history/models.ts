/**
 * The objects of a region as the documentation has them, one at a time, and which part of a history each of them saw. What
 * an object answers may depend on nothing but its own past: so an answer that rests on another one (a route towards a half
 * that is gone) is left to the replay of the journal (`journal.ts`).
 */
import type { RouteRuleId } from '../../src/model/ids.ts';
import type { Model, Operation } from '../ledger/linearizable.ts';
import { type Asked, isQuestion, nothing, shown } from './caller.ts';
import type { Deed, Notebook } from './notebook.ts';

/** A question or command, and the id of what it made. */
interface Input {
  readonly asked: Asked;
  readonly made: string | null;
}
type Step = (asked: Asked, made: string) => string;
export type Seen = Operation<Input, string>;

/** A model of something that is changed in place: `step` gets a copy. */
function modelOf<S>(initial: S, begin: (state: S) => Step): Model<S, Input, string> {
  return {
    initial,
    step: (state, { asked, made }) => {
      const next = structuredClone(state);
      return { output: begin(next)(asked, made ?? ''), next };
    },
    reads: ({ asked }) => isQuestion(asked),
    key: (state) => JSON.stringify(state),
    same: (one, other) => one === other,
  };
}
const done = 'done';
const missing = 'not-found';

export const vpcModel = modelOf(
  { vpc: null as { description: string; cidrs: string[] } | null },
  (state) => (asked) => {
    if (asked.kind === 'create-vpc') {
      state.vpc = { description: asked.description, cidrs: [...asked.cidrs] };
      return done;
    }
    const { vpc } = state;
    if (vpc === null) return asked.kind === 'read-vpc' ? nothing : missing;
    switch (asked.kind) {
      case 'read-vpc':
        return shown.vpc(vpc.description, vpc.cidrs);
      case 'modify-vpc':
        vpc.description = asked.description ?? vpc.description;
        return done;
      case 'add-cidr':
        if (vpc.cidrs.includes(asked.cidr)) return 'cidr-overlap';
        vpc.cidrs.push(asked.cidr);
        return done;
      case 'remove-cidr':
        if (!vpc.cidrs.includes(asked.cidr)) return 'cidr-not-found';
        vpc.cidrs = vpc.cidrs.filter((cidr) => cidr !== asked.cidr);
        return done;
      case 'delete-vpc':
        state.vpc = null;
        return done;
      default:
        throw new Error(asked.kind);
    }
  },
);

/** One range of a VPC: the subnet that is there, if any, and its interfaces. */
export const rangeModel = modelOf(
  { alive: true, subnet: null as { id: string; ports: string[] } | null },
  (state) => (asked, made) => {
    const { subnet } = state;
    switch (asked.kind) {
      case 'delete-vpc':
        if (!state.alive) return missing;
        state.alive = false;
        state.subnet = null;
        return done;
      case 'create-subnet':
        if (!state.alive) return missing;
        if (subnet !== null) return 'subnet-overlap';
        state.subnet = { id: made, ports: [] };
        return done;
      case 'delete-subnet':
        if (subnet?.id !== asked.subnetId) return missing;
        if (subnet.ports.length > 0) return 'subnet-in-use';
        state.subnet = null;
        return done;
      case 'create-interface':
        if (subnet?.id !== asked.subnetId) return missing;
        subnet.ports.push(made);
        return done;
      case 'delete-interface':
        if (subnet?.ports.includes(asked.portId) !== true) return missing;
        subnet.ports = subnet.ports.filter((id) => id !== asked.portId);
        return done;
      case 'read-ports':
        return shown.ports(subnet?.id === asked.subnetId ? subnet.ports : []);
      default:
        throw new Error(asked.kind);
    }
  },
);

/** The rules that clients made in a route table. @param tagOf of a rule, as its table was read */
export const tableModel = (tagOf: (ruleId: RouteRuleId) => string) =>
  modelOf({ rules: [] as { tag: string; to: string; via: string }[] | null }, (state) => (asked) => {
    const { rules } = state;
    if (rules === null) return asked.kind === 'read-table' ? nothing : missing;
    switch (asked.kind) {
      case 'delete-vpc':
        state.rules = null;
        return done;
      case 'read-table':
        return shown.rules(rules);
      case 'add-routes': {
        for (const { destination: to, nextHop: hop, description: tag = '' } of asked.routes) {
          if (rules.some((rule) => rule.to === to)) return 'destination-taken';
          rules.push({
            tag,
            to,
            via: hop.kind === 'peering' ? hop.halfId : hop.kind === 'interface' ? hop.portId : hop.kind,
          });
        }
        return done;
      }
      case 'remove-routes': {
        const tags = asked.ruleIds.map(tagOf);
        if (!tags.every((tag) => rules.some((rule) => rule.tag === tag))) return missing;
        state.rules = rules.filter(({ tag }) => !tags.includes(tag));
        return done;
      }
      default:
        throw new Error(asked.kind);
    }
  });

interface Side {
  alive: boolean;
  half: { id: string; state: string } | null;
}
/** The two halves between two VPCs. @param vpcs the one, the other */
export const pairModel = (vpcs: readonly [string, string]) =>
  modelOf({ sides: vpcs.map((): Side => ({ alive: true, half: null })) }, ({ sides }) => {
    const [one, two] = sides as [Side, Side];
    const of = (vpcId: string): readonly [Side, Side] => (vpcId === vpcs[0] ? [one, two] : [two, one]);
    const withHalf = (halfId: string): Side | undefined => sides.find(({ half }) => half?.id === halfId);
    const disconnect = ({ half }: Side): void => {
      if (half !== null) half.state = 'Disconnected';
    };
    return (asked, made) => {
      switch (asked.kind) {
        case 'delete-vpc': {
          const [own, other] = of(asked.vpcId);
          if (!own.alive) return missing;
          own.alive = false;
          own.half = null;
          disconnect(other);
          return done;
        }
        case 'create-peering': {
          const [own, other] = of(asked.vpcId);
          if (!own.alive || !other.alive) return missing;
          if (own.half !== null) return 'peering-exists';
          own.half = { id: made, state: other.half === null ? 'Initiated' : 'Connected' };
          if (other.half !== null) other.half.state = 'Connected';
          return done;
        }
        case 'delete-peering': {
          const own = withHalf(asked.halfId);
          if (own === undefined) return missing;
          own.half = null;
          disconnect(own === one ? two : one);
          return done;
        }
        case 'read-half':
          return withHalf(asked.halfId)?.half?.state ?? nothing;
        default:
          throw new Error(asked.kind);
      }
    };
  });

/** One object, and what was seen of it. */
export interface Story {
  readonly name: string;
  readonly seen: readonly Seen[];
  readonly model: Model<unknown, Input, string>;
}

/** The whole history, object by object. */
export function storiesOf(notebook: Notebook): readonly Story[] {
  const stories = new Map<string, { model: Story['model']; seen: Seen[] }>();
  const model = (name: string): Story['model'] => {
    const [kind, id = ''] = name.split(' ');
    const found =
      kind === 'vpc'
        ? vpcModel
        : kind === 'range'
          ? rangeModel
          : kind === 'table'
            ? tableModel((ruleId) => notebook.tagOf(ruleId))
            : pairModel(id.split('|') as [string, string]);
    return found as Story['model'];
  };
  const tell = (name: string, { asked, called, end }: Deed): void => {
    const story = stories.get(name) ?? { model: model(name), seen: [] };
    stories.set(name, story);
    const input = { asked, made: end?.answer.made ?? null };
    story.seen.push({ input, called, end: end && { returned: end.returned, output: end.answer.output } });
  };
  // What goes with a VPC must be known before it goes.
  const objects = new Map<string, Set<string>>();
  for (const deed of notebook.deeds) {
    for (const name of notebook.objectsOf(deed)) {
      for (const vpcId of notebook.vpcsOf(name)) objects.set(vpcId, (objects.get(vpcId) ?? new Set()).add(name));
    }
  }
  for (const deed of notebook.deeds) {
    // A read that demands no revision promises less, and is held against the journal alone.
    if (isQuestion(deed.asked) && (!deed.demanding || deed.end === null)) continue;
    const names = new Set(notebook.objectsOf(deed));
    if (deed.asked.kind === 'delete-vpc') for (const name of objects.get(deed.asked.vpcId) ?? []) names.add(name);
    for (const name of names) tell(name, deed);
  }
  return [...stories].map(([name, { model: of, seen }]) => ({ name, model: of, seen }));
}
