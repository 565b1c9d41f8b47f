/**
 * The compiled network of a state, as a view to ask questions of: each VPC is compiled when it is first asked about and
 * again after it was touched. A question therefore costs what it touches, not the size of the region.
 */
import { PlaneView } from '../explain/plane-view.ts';
import type { PortId, VpcId } from '../model/ids.ts';
import type { StateView } from '../model/state.ts';
import { compileVpc } from './compile.ts';

export class CompiledView {
  readonly #state: StateView;
  readonly #view = new PlaneView();
  readonly #known = new Set<VpcId>();

  constructor(state: StateView) {
    this.#state = state;
  }

  /** Forgets what was compiled of these VPCs: they have changed. */
  touch(vpcIds: Iterable<VpcId>): void {
    for (const vpcId of vpcIds) {
      this.#known.delete(vpcId);
      this.#view.remove(vpcId);
    }
  }

  #learn(vpcId: VpcId): void {
    if (this.#known.has(vpcId)) return;
    this.#known.add(vpcId);
    const spec = compileVpc(this.#state, vpcId);
    if (spec !== undefined) this.#view.set(spec);
  }

  vpc: PlaneView['vpc'] = (vpcId) => {
    this.#learn(vpcId);
    return this.#view.vpc(vpcId);
  };
  interface: PlaneView['interface'] = (portId: PortId) => {
    const port = this.#state.get('interface', portId);
    if (port === undefined) return undefined;
    this.#learn(port.vpcId);
    return this.#view.interface(portId);
  };
  half: PlaneView['half'] = (vpcId, halfId) => {
    this.#learn(vpcId);
    return this.#view.half(vpcId, halfId);
  };
  ownerOf: PlaneView['ownerOf'] = (vpcId, address) => {
    this.#learn(vpcId);
    return this.#view.ownerOf(vpcId, address);
  };
  table: PlaneView['table'] = (vpcId, tableId) => {
    this.#learn(vpcId);
    return this.#view.table(vpcId, tableId);
  };
  route: PlaneView['route'] = (vpcId, tableId, destination) => {
    this.#learn(vpcId);
    return this.#view.route(vpcId, tableId, destination);
  };
}
