/** How both kinds of agent end: on a signal, doors first, and without a trace in the network. */
import type { Logger } from 'pino';
import type { DoorServer } from './server.ts';

interface Stopping {
  readonly log: Logger;
  readonly doors: readonly DoorServer[];
  readonly agent: { close(): Promise<void> };
}

/** Says that the agent is up, and ends the process at the first signal that asks for it. */
export function upUntilStopped({ log, doors, agent }: Stopping): void {
  // `isthmus up` waits for this; systemd needs it not.
  process.send?.({ up: true });
  process.channel?.unref();

  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'stopping; the network stays as it is');
    await Promise.all(doors.map((door) => door.close()));
    await agent.close();
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void stop(signal));
}
