/** The ends of a trace as the host knows them: which workload is where, with the addresses that its interface has. */
import { AgentClient } from '../../dataplane/agent-client.ts';
import { DriverError, type Observed } from '../../dataplane/driver.ts';
import { Failure } from '../failure.ts';
import type { TraceObject } from '../objects.ts';
import type { LiveEnd } from './probe.ts';

type End = TraceObject['pairs'][number]['from'];

/** Asks the agent, and closes the connection when the work is done. @throws Failure when there is no agent */
export async function liveEnds<T>(
  socket: string,
  work: (agent: AgentClient, endOf: (end: End) => LiveEnd | null) => Promise<T>,
): Promise<T> {
  let agent: AgentClient | undefined;
  try {
    agent = await AgentClient.connect(socket);
    const { network, attachments } = await agent.call<Observed>('observe', {});
    const specs = new Map(
      network.vpcs.flatMap(({ interfaces }) => interfaces.map((spec) => [spec.id as string, spec])),
    );
    const facts = new Map(attachments.map((fact) => [fact.portId as string, fact]));
    return await work(agent, ({ interfaceId, address, vpcId }) => {
      const fact = facts.get(interfaceId ?? '');
      const addresses = specs.get(interfaceId ?? '')?.addresses ?? [];
      const own = addresses.find((one) => one.address === address);
      if (fact === undefined || fact.state !== 'attached' || own === undefined || vpcId === null) return null;
      const { gateway, prefixLength } = own;
      return {
        portId: fact.portId,
        vpcId,
        address: own.address,
        own: addresses.map((one) => one.address),
        prefixLength,
        gateway,
        fact,
      };
    });
  } catch (error) {
    if (!(error instanceof DriverError)) throw error;
    throw new Failure(2, `Nothing can be sent: ${error.message}.`, {
      remedy: '--live needs root, the eBPF driver and the service: sudo isthmus up.',
    });
  } finally {
    agent?.close();
  }
}
