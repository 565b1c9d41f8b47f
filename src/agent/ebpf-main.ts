/**
 * The agent's process. Started by `isthmus up` or systemd inside the private namespace, with few capabilities; see
 * `ebpf-launch.ts`. Listens on two unix sockets and never on TCP.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { lockFile } from '../store/lock.ts';
import { Agent } from './ebpf-agent.ts';
import { DoorServer } from './server.ts';
import { upUntilStopped } from './stopping.ts';

const { values } = parseArgs({
  options: {
    'run-dir': { type: 'string' },
    namespace: { type: 'string' },
    uid: { type: 'string' },
    gid: { type: 'string' },
  },
});
const runDir = values['run-dir'] ?? '/run/isthmus';
const log = pino({ name: 'agent' }, pino.destination({ fd: 2, sync: true }));

mkdirSync(runDir, { recursive: true, mode: 0o755 });
if (!lockFile(join(runDir, 'agent.lock'))) {
  log.fatal(`another agent runs in ${runDir}: stop it first, with isthmus down`);
  process.exit(2);
}
writeFileSync(join(runDir, 'agent.pid'), `${process.pid}\n`);

const doors: DoorServer[] = [];
const agent = new Agent({
  bpffsPath: join(runDir, 'bpf'),
  namespaceName: values.namespace ?? 'isthmus',
  log,
  onEvent: (event) => {
    for (const door of doors) door.broadcast(event);
  },
});
const uid = Number(values.uid ?? 0);
const gid = Number(values.gid ?? uid);
doors.push(await DoorServer.open({ kind: 'region', path: join(runDir, 'agent.sock'), uid, gid }, agent.handle));
doors.push(await DoorServer.open({ kind: 'host', path: join(runDir, 'host.sock'), uid: 0, gid: 0 }, agent.handle));
log.info({ runDir }, 'listening');
upUntilStopped({ log, doors, agent });
