/** What the command line says of hosts that have not proven a change yet: what it means, and what to do. */
import type { Properties } from './output.ts';

/** As the API has it: lists that are empty are left out. */
export interface BehindObject {
  readonly notFencedOn?: readonly string[];
  readonly notInstalledOn?: readonly string[];
}

/** The lists in an answer, whatever else it holds. */
export function behindIn(result: unknown): BehindObject {
  const { notFencedOn, notInstalledOn } = (result ?? {}) as BehindObject;
  return {
    ...(notFencedOn === undefined ? {} : { notFencedOn }),
    ...(notInstalledOn === undefined ? {} : { notInstalledOn }),
  };
}

const atEnd = 'Nothing needs to be done for it; if a host does not come back, see: isthmus doctor';

/**
 * The line for a change that was answered before all hosts have proven it; null when hosts are not the reason.
 * @param ended whether it ended a peering: that is cut where packets arrive, too
 */
export function behindLine({ notFencedOn = [], notInstalledOn = [] }: BehindObject, ended: boolean): string | null {
  const said: string[] = [];
  if (notFencedOn.length > 0) {
    const rest = ended
      ? 'The peering is cut at its other end: every other host drops what still comes.'
      : 'What was taken away may still be carried there.';
    said.push(`not yet fenced on ${notFencedOn.join(', ')}. ${rest} It is fenced by itself once it is back.`);
  }
  if (notInstalledOn.length > 0) {
    said.push(`not yet installed on ${notInstalledOn.join(', ')}. It follows by itself once it is back.`);
  }
  return said.length === 0 ? null : `Stored, but ${said.join(' And ')} ${atEnd}`;
}

/** Lines of a sheet; none while no host is behind. */
export function behindProperties({ notFencedOn = [], notInstalledOn = [] }: BehindObject): Properties {
  return [
    ...(notFencedOn.length === 0
      ? []
      : [
          [
            'Not fenced on',
            [...notFencedOn, 'may still carry what was taken away; fenced by itself once it is back'],
          ] as const,
        ]),
    ...(notInstalledOn.length === 0
      ? []
      : [['Not installed on', [...notInstalledOn, 'may not carry yet what was added; follows by itself']] as const]),
  ];
}
