/**
 * `docs/network.schema.json`, made from the schema that the API checks with. Run as a program it writes the file.
 */
import { writeFileSync } from 'node:fs';
import { NetworkFile } from './jdcloud/network.ts';

export const networkSchema = (): string => `${JSON.stringify(NetworkFile, null, 2)}\n`;

if (import.meta.main) writeFileSync(new URL('../../docs/network.schema.json', import.meta.url), networkSchema());
