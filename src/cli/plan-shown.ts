/**
 * A plan as people read it: what would be made or changed, which subnets begin or cease to reach which, and what would
 * lead nowhere. Thrown instead of the answer of a change that is only to be planned.
 */
import type { Plan } from '../region/service.ts';
import { type OutputOptions, printJson, printText } from './output.ts';
import { escapeText, type Painter, painterFor } from './terminal.ts';

export interface PlanAnswer {
  readonly plan: Plan;
}

export class PlanShown extends Error {
  readonly plan: Plan;
  constructor(plan: Plan) {
    super('a plan, not a change');
    this.name = 'PlanShown';
    this.plan = plan;
  }
}

const signs = { create: ['good', '+'], change: ['warn', '~'], delete: ['bad', '-'] } as const;
const nouns: { readonly [kind: string]: string } = { peering: 'peering half', key: 'access key' };

const placeName = ({ vpcId, vpcName, subnetId, subnetName }: Plan['reach'][number]['from']): string =>
  subnetId === null
    ? `${vpcName === '' ? '' : `${vpcName} `}(${vpcId})`
    : `${vpcName}/${subnetName === '' ? subnetId : subnetName}`;

export function renderPlan(plan: Plan, paint: Painter): string {
  const out: string[] = [];
  const put = (text: string): void => void out.push(text);
  if (plan.changes.length === 0) put('Nothing would change.');
  for (const { op, kind, id, name, fields } of plan.changes) {
    const [tone, sign] = signs[op];
    const what = fields.length === 0 ? '' : `  ${fields.join(', ')}`;
    const noun = nouns[kind] ?? kind.replace('-', ' ');
    put(
      `  ${paint(tone, sign)} ${op} ${noun}  ${escapeText([id, name].filter((part) => part !== '').join('  '))}${what}`,
    );
  }
  if (plan.reach.length > 0) put(paint('strong', 'Reach:'));
  for (const { from, to, gained, lost, back } of plan.reach) {
    const pair = escapeText(`${placeName(from)} → ${placeName(to)}`);
    const answer = back ? '' : paint('warn', '  no way back');
    if (gained.length > 0) put(`  ${paint('good', '+')} ${pair}  reaches ${shortened(gained)}${answer}`);
    if (lost.length > 0) put(`  ${paint('bad', '-')} ${pair}  no longer reaches ${shortened(lost)}`);
  }
  if (plan.changes.length > 0 && plan.reach.length === 0) put('No subnet begins or ceases to reach another.');
  if (plan.blackHoles.length > 0) put(paint('strong', 'Rules that lead nowhere then:'));
  for (const { routeTableId, destination, why } of plan.blackHoles) {
    put(`  ${paint('bad', '!')} ${routeTableId}  ${destination}: ${escapeText(why)}`);
  }
  return out.map((line) => `${line}\n`).join('');
}

const shortened = (list: readonly string[]): string =>
  list.length <= 4 ? list.join(', ') : `${list.slice(0, 4).join(', ')} and ${list.length - 4} more ranges`;

export function showPlan(plan: Plan, options: OutputOptions): void {
  if (options.json === true) printJson(plan);
  else if (options.quiet !== true) printText(renderPlan(plan, painterFor(process.stdout)));
}
