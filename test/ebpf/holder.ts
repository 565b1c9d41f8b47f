/** Holds a driver open, as an agent does, until it is killed. Arguments: the options as JSON; a VPC makes it busy too. */
import { EbpfDriver, type EbpfOptions } from '../../src/dataplane/ebpf/driver.ts';
import type { VpcSpec } from '../../src/model/network-spec.ts';

const driver = new EbpfDriver(JSON.parse(process.argv[2] ?? '') as EbpfOptions);
process.stdout.write('open\n');
setInterval(() => {}, 1000);
// Makes and removes a VPC of its own without end, so that a kill meets it in the middle of its writes.
const vpc = JSON.parse(process.argv[3] ?? 'null') as VpcSpec | null;
while (vpc !== null) {
  const { vpcId, routeTables, interfaces } = vpc;
  await driver.apply({
    make: [
      { step: 'put-vpc', vpcId },
      ...routeTables.map(({ id }) => ({ step: 'put-route-table', vpcId, routeTableId: id }) as const),
      ...interfaces.map((spec) => ({ step: 'put-interface', vpcId, before: null, interface: spec }) as const),
    ],
    break: [],
  });
  await driver.apply({
    make: [],
    break: [
      ...interfaces.map(({ id }) => ({ step: 'remove-interface', vpcId, portId: id }) as const),
      ...routeTables.map(({ id }) => ({ step: 'remove-route-table', vpcId, routeTableId: id }) as const),
      { step: 'remove-vpc', vpcId },
    ],
  });
}
