import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimsIn, type Found, type Own } from './host-claims.ts';
import type { PrintedRow } from './local-ovsdb.ts';

const own: Own = { southbound: ['ssl:192.0.2.1:6642', 'ssl:192.0.2.2:6642'], name: 'h1', installationId: 'ours' };
const row = (ids: { readonly [key: string]: string }, name = ''): PrintedRow => ({
  name,
  external_ids: ['map', Object.entries(ids)],
});
const claims = (found: Partial<Found>, of: Partial<Own> = {}): readonly string[] =>
  claimsIn({ host: undefined, bridges: [], interfaces: [], ...found }, { ...own, ...of });
const ofHost = (ids: { readonly [key: string]: string }, of: Partial<Own> = {}): readonly string[] =>
  claims({ host: row(ids) }, of);

test('an Open vSwitch that nobody uses is claimed by nobody, also when it has a name', () => {
  assert.deepEqual(claims({}), []);
  assert.deepEqual(ofHost({}), []);
  assert.deepEqual(ofHost({ 'system-id': 'b0ca6d5e' }), []);
});

test('another OVN is told by its remote, and by the name that it knows the machine by', () => {
  assert.deepEqual(ofHost({ 'ovn-remote': 'tcp:198.51.100.1:6642' }), [
    'another OVN uses it: ovn-remote=tcp:198.51.100.1:6642',
  ]);
  assert.deepEqual(ofHost({ 'ovn-remote': 'tcp:198.51.100.1:6642', 'system-id': 'h1' }), [
    "another OVN uses it: ovn-remote=tcp:198.51.100.1:6642, as chassis 'h1'",
  ]);
  assert.deepEqual(ofHost({ 'ovn-remote': 'ssl:192.0.2.1:6641' }).length, 1, 'another port is another database');
});

test('the region’s own OVN is none, at any of its servers, with TLS or without', () => {
  for (const remote of ['ssl:192.0.2.1:6642', 'tcp:192.0.2.2:6642', 'tcp:198.51.100.1:6642, ssl:192.0.2.2:6642']) {
    assert.deepEqual(ofHost({ 'ovn-remote': remote, 'system-id': 'h1' }), [], remote);
  }
});

test('a remote of one chassis goes before the one of all', () => {
  const ids = { 'system-id': 'h1', 'ovn-remote-h1': 'ssl:192.0.2.1:6642', 'ovn-remote': 'tcp:198.51.100.1:6642' };
  assert.deepEqual(ofHost(ids), []);
  assert.equal(ofHost({ ...ids, 'system-id': 'h2' }, { name: undefined }).length, 1, 'it is not of another chassis');
});

test('under another name the region’s OVN counts it as another machine; without a wanted name any is well', () => {
  const ids = { 'ovn-remote': 'ssl:192.0.2.1:6642', 'system-id': 'h2' };
  assert.deepEqual(ofHost(ids), ["the region's OVN knows this machine by another name: system-id=h2, not h1"]);
  assert.deepEqual(ofHost(ids, { name: undefined }), []);
  assert.deepEqual(ofHost({ 'ovn-remote': 'ssl:192.0.2.1:6642' }), [], 'it has no name yet');
});

const taken = (owner: string, ...names: readonly string[]): readonly PrintedRow[] =>
  names.map((name) => row({ 'isthmus:owner': owner }, name));

test('what another installation has is told by name, four at most; our own and what has no owner is nobody’s', () => {
  const found = {
    bridges: [...taken('theirs', 'br-int'), ...taken('ours', 'br-a'), row({}, 'br-ex')],
    interfaces: [...taken('theirs', 'i1', 'i2', 'i3', 'i4', 'i5'), ...taken('third', 'i6'), row({}, 'eth0')],
  };
  assert.deepEqual(claims(found), [
    'Isthmus installation theirs has bridge br-int, interface i1, interface i2, interface i3 and 2 more',
    'Isthmus installation third has interface i6',
  ]);
});

test('before it is known which installation is joined, every one is another', () => {
  const interfaces = taken('ours', 'i1');
  assert.deepEqual(claims({ interfaces }), []);
  assert.deepEqual(claims({ interfaces }, { installationId: undefined }), [
    'Isthmus installation ours has interface i1',
  ]);
});

test('all of it is told, OVN first', () => {
  const found = { host: row({ 'ovn-remote': 'tcp:198.51.100.1:6642' }), bridges: taken('theirs', 'br-int') };
  assert.deepEqual(claims(found), [
    'another OVN uses it: ovn-remote=tcp:198.51.100.1:6642',
    'Isthmus installation theirs has bridge br-int',
  ]);
});
