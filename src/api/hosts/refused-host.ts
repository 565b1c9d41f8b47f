/** A refusal, as hosts are told it. */
import { DriverError } from '../../dataplane/driver.ts';
import type { Refusal } from '../../model/errors.ts';

export const refused = (refusal: Refusal, code: DriverError['code'] = 'not-supported'): DriverError =>
  new DriverError(code, `${refusal.text} ${refusal.remedy}`);
