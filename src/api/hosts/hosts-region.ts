/** What the gateway of the hosts needs of the region; and the region's authority, which the store keeps. */
import type { View } from '../../explain/plane-view.ts';
import { isRefusal } from '../../model/errors.ts';
import type { HostName } from '../../model/ids.ts';
import type { Change } from '../../model/resources.ts';
import type { StateView } from '../../model/state.ts';
import type { CommandContext, Outcome } from '../../region/service.ts';
import type { Command } from '../../rules/commands.ts';
import { ListenError } from '../address.ts';
import { type Authority, makeAuthority } from './certificates.ts';

export interface HostsRegion {
  readonly state: StateView;
  readonly view: Pick<View, 'interface'>;
  secretOf(keyId: string): string | undefined;
  submit(command: Command, context: CommandContext): Promise<Outcome>;
  onChanges(listener: (changes: readonly Change[]) => void): void;
}

const authorityId = 'host-authority';

/** Made when there is none yet; of several servers that do so one wins. @throws ListenError */
export async function authorityOf(region: HostsRegion): Promise<Authority> {
  if (region.state.get('host-authority', authorityId) === undefined) {
    const outcome = await region.submit(
      { kind: 'create-host-authority', ...makeAuthority() },
      { principal: { kind: 'operator' }, requestId: 'start' },
    );
    if (isRefusal(outcome)) throw new ListenError(outcome.text, outcome.remedy);
  }
  const certificate = region.state.get('host-authority', authorityId)?.certificate;
  const privateKey = region.secretOf(authorityId);
  if (certificate === undefined || privateKey === undefined) {
    throw new ListenError('The store has no authority for hosts.', 'Restore it from a backup.');
  }
  return { certificate, privateKey };
}

/** Whether that key speaks for the host, as far as this server knows. */
export function isKeyOf({ state }: HostsRegion, host: HostName, keyHash: string): boolean {
  const known = state.get('host', host);
  return known !== undefined && known.state !== 'invited' && known.keyHash === keyHash;
}
