import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seen } from '../../test/wire/frame.ts';
import type { Address, Mac } from '../model/ip.ts';
import { announcement } from './announce.ts';

const mac = '02:01:02:03:04:05' as Mac;

test('an ARP announcement: a request to all for the address that it comes from', () => {
  assert.equal(
    announcement(mac, '10.1.0.4' as Address).toString('hex'),
    `${'ff'.repeat(6)}020102030405080600010800060400010201020304050a0100040000000000000a010004`,
  );
});

test('an unsolicited neighbour advertisement: to all nodes, overriding, with the link-layer address', () => {
  const frame = announcement(mac, 'fd00:1::4' as Address);
  assert.equal(frame.toString('hex', 0, 12), '333300000001020102030405');
  const { source, destination, ttl, protocol, payload, checksumsRight } = seen(frame);
  assert.deepEqual([source, destination, ttl, protocol], ['fd00:1::4', 'ff02::1', 255, 58]);
  assert.ok(checksumsRight);
  assert.equal(payload.toString('hex', 4), `20000000${'fd000001000000000000000000000004'}0201020102030405`);
  assert.deepEqual([payload[0], payload[1]], [136, 0]);
});
