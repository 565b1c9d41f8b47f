/** Each guard is needed: the same packet on the same tables goes astray in an object that lacks it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Exit } from '../../src/model/drop-reason.ts';
import { cannotBuild, variant } from '../wire/object.ts';
import { a, at, c, e, network, udp } from './network.ts';
import { cannotLoad, committedObject, type TestPlane } from './plane.ts';

describe('guards of the program', { skip: cannotLoad || cannotBuild }, () => {
  let directory = '';
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'isthmus-guards-'));
  });
  after(() => rmSync(directory, { recursive: true }));

  /** Exit of what `act` does, on a plane with this object. */
  function exitOn(object: string, act: (plane: TestPlane) => Exit | undefined): Exit | undefined {
    const plane = network(object);
    try {
      return act(plane);
    } finally {
      plane.close();
    }
  }

  test('identity: an element that holds another VPC’s value is not believed', () => {
    const act = (plane: TestPlane): Exit | undefined => {
      // As if the element of 10.1.0.99 had been freed and reused for an address of VPC 2 while it was being read.
      plane.putAddress(1, at('10.1.0.99'), c, 2);
      return plane.send(a, udp(a, '10.1.0.99')).counted[0]?.exit;
    };
    assert.equal(exitOn(committedObject, act), 'StaleEntry');
    assert.equal(exitOn(variant(directory, 'identity', '-DNO_IDENTITY_CHECK'), act), 'Forwarded', 'to a stranger');
  });

  test('identity: a route that was stored for another VPC is not followed', () => {
    const act = (plane: TestPlane): Exit | undefined => {
      plane.putTable(1, [['10.1.0.0/16', { vpc: 2 }]], 1);
      return plane.send(a, udp(a, '10.1.0.3')).counted[0]?.exit;
    };
    assert.equal(exitOn(committedObject, act), 'StaleEntry');
    assert.equal(exitOn(variant(directory, 'identity', '-DNO_IDENTITY_CHECK'), act), 'Forwarded');
  });

  test('devmap: a stranger’s device that got the index of a deleted one receives nothing', () => {
    const act = (plane: TestPlane): Exit | undefined => {
      plane.put({ ...e, detached: false });
      const ifindex = plane.deviceOf(e);
      assert.equal(plane.send(a, udp(a, '10.1.0.5')).counted[0]?.exit, 'Forwarded');
      plane.ip('link', 'delete', `h${ifindex}`);
      plane.makeDevice(ifindex);
      return plane.send(a, udp(a, '10.1.0.5')).counted[0]?.exit;
    };
    assert.equal(exitOn(committedObject, act), 'TargetGone');
    assert.equal(exitOn(variant(directory, 'devmap', '-DNO_DEVMAP'), act), 'Forwarded', 'to a stranger');
  });

  test('the widened program decides like the committed one', () => {
    const act = (plane: TestPlane): Exit | undefined => plane.send(a, udp(a, '10.2.0.2')).counted[0]?.exit;
    assert.equal(exitOn(variant(directory, 'wide', '-DWIDEN_US=20'), act), 'Forwarded');
    assert.equal(exitOn(committedObject, act), 'Forwarded');
  });
});
