/**
 * A client process for the API's measurements: so many connections that ask without a pause, for so long. Says on stdout
 * what it saw, as one line of JSON. Told by its arguments; see api.ts.
 */
import { writeSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { signRequest } from '../src/api/auth/sign.ts';

export interface ClientTask {
  readonly host: string;
  readonly clients: number;
  readonly milliseconds: number;
  /** 'read' and 'commit' speak the native API; 'moto-…' the EC2 API of that server. */
  readonly what: 'read' | 'commit' | 'moto-read' | 'moto-commit';
  readonly region: string;
  readonly keys: readonly { readonly accessKeyId: string; readonly secretAccessKey: string }[];
  /** A VPC of each key. */
  readonly vpcIds: readonly string[];
}
export interface ClientResult {
  readonly answers: number;
  readonly failed: number;
  readonly seconds: number;
  /** Milliseconds of each answer, at most 20,000 of them. */
  readonly times: readonly number[];
}

const task = JSON.parse(process.argv[2] ?? '{}') as ClientTask;
const agent = new Agent({ keepAlive: true, maxSockets: task.clients });
const [hostname = '', port = ''] = task.host.split(':');
let serial = 0;

function shapeOf(client: number): { method: string; path: string; body: string; headers: { [name: string]: string } } {
  if (task.what.startsWith('moto')) {
    const body =
      task.what === 'moto-read'
        ? 'Action=DescribeVpcs&Version=2016-11-15'
        : `Action=CreateVpc&Version=2016-11-15&CidrBlock=10.${serial++ % 250}.0.0%2F16`;
    const headers = {
      host: task.host,
      'content-type': 'application/x-www-form-urlencoded',
      authorization:
        'AWS4-HMAC-SHA256 Credential=x/20300101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0',
    };
    return { method: 'POST', path: '/', body, headers };
  }
  const key = task.keys[client % task.keys.length] ?? { accessKeyId: '', secretAccessKey: '' };
  const root = `/v1/regions/${task.region}`;
  const vpcId = task.vpcIds[client % task.vpcIds.length] ?? '';
  const [method, path, body] =
    task.what === 'read'
      ? (['GET', `${root}/vpcs/${vpcId}`, ''] as const)
      : (['PATCH', `${root}/vpcs/${vpcId}`, JSON.stringify({ description: `n${serial++}` })] as const);
  return {
    method,
    path,
    body,
    headers: signRequest({ method, path, host: task.host, body, region: task.region, ...key }),
  };
}

function once(client: number): Promise<boolean> {
  const { method, path, body, headers } = shapeOf(client);
  return new Promise((resolve) => {
    const sent = request({
      hostname,
      port,
      agent,
      method,
      path,
      headers: { ...headers, 'content-length': String(body.length) },
    });
    sent.on('response', (response) => {
      response.resume();
      response.on('end', () => resolve((response.statusCode ?? 0) < 300));
    });
    sent.on('error', () => resolve(false));
    sent.end(body);
  });
}

const times: number[] = [];
let answers = 0;
let failed = 0;
const started = performance.now();
const end = started + task.milliseconds;
await Promise.all(
  Array.from({ length: task.clients }, async (_, client) => {
    while (performance.now() < end) {
      const before = performance.now();
      if (await once(client)) {
        answers++;
        if (times.length < 20_000) times.push(Number((performance.now() - before).toFixed(3)));
      } else failed++;
    }
  }),
);
const result: ClientResult = { answers, failed, seconds: (performance.now() - started) / 1000, times };
agent.destroy();
// Not through console.log and exit: what a pipe has not taken by then is lost.
writeSync(1, JSON.stringify(result));
