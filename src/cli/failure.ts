/**
 * How a command says no: one readable block on stderr and an exit code. Every expected failure of a command is a
 * `Failure`; anything else that is thrown is a fault of ours and shown as one.
 */
import { escapeJson, escapeText, type Painter } from './terminal.ts';

/** 1: the service refused or a check failed. 2: wrong usage, or something missing around us. */
export type FailureExit = 1 | 2;

export interface FailureDetail {
  /** What to do about it. */
  readonly remedy?: string;
  /** Further lines: what is in the way, candidates of an ambiguous name. */
  readonly lines?: readonly string[];
  readonly requestId?: string;
  /** The vendor's status word and HTTP status of a refusal, e.g. `409 ALREADY_EXISTS`. */
  readonly status?: string;
}

export class Failure extends Error {
  readonly exitCode: FailureExit;
  readonly detail: FailureDetail;
  constructor(exitCode: FailureExit, message: string, detail: FailureDetail = {}) {
    super(message);
    this.name = 'Failure';
    this.exitCode = exitCode;
    this.detail = detail;
  }
}

/** The block for stderr, line ends included. */
export function renderFailure(failure: Failure, paint: Painter): string {
  const { remedy, lines = [], requestId, status } = failure.detail;
  const head = `${paint('bad', failure.exitCode === 1 ? 'refused:' : 'error:')} ${escapeText(failure.message)}`;
  const rows = [head, ...lines.map((line) => `  ${escapeText(line)}`)];
  if (remedy !== undefined && remedy !== '') rows.push(`  ${paint('strong', '→')} ${escapeText(remedy)}`);
  const origin = [status, requestId === undefined ? undefined : `request ${requestId}`].filter(
    (part) => part !== undefined,
  );
  if (origin.length > 0) rows.push(paint('dim', `  ${escapeText(origin.join(' · '))}`));
  return `${rows.join('\n')}\n`;
}

/** The same for programs, which asked with `--json`: one line on stderr. */
export function failureJson({ exitCode, message, detail }: Failure): string {
  return `${escapeJson(JSON.stringify({ error: { exitCode, message, ...detail } }))}\n`;
}
