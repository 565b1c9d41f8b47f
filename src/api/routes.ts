/**
 * Paths. Clients send `…/rtb-x:addRules` and `…/rtb-x%3AaddRules`: both mean the same, so routing works on the decoded
 * path. A slash that was encoded stays so: it is part of a name and never of the path.
 */
import type { Operation } from './operation.ts';

/** The request target as it is routed: each segment decoded, but for what would change the path's structure. */
export function decodeTarget(target: string): string {
  const at = target.indexOf('?');
  const [path, query] = at < 0 ? [target, ''] : [target.slice(0, at), target.slice(at)];
  return path.replaceAll(/%3a/gi, ':') + query;
}

/** `/vpcs/{vpcId}:act` in the router's own words: `/vpcs/:vpcId::act`. */
export const routePattern = (path: string): string =>
  path.replaceAll(':', '::').replaceAll(/\{(\w+)\}/g, (_, name: string) => `:${name}([^/:]+)`);

const escape_ = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** Whether a decoded path is that of an operation. */
function matches(root: string, operation: Operation, path: string): boolean {
  const pattern = (root + operation.path)
    .split(/(\{\w+\})/)
    .map((part) => (part.startsWith('{') ? '[^/:]+' : escape_(part)))
    .join('');
  return new RegExp(`^${pattern}$`).test(path.length > 1 ? path.replace(/\/$/, '') : path);
}

/** The methods that an existing path allows; none for a path that does not exist. */
export function allowedMethods(root: string, operations: readonly Operation[], path: string): readonly string[] {
  const decoded = decodeTarget(path);
  const found = operations.filter((operation) => matches(root, operation, decoded)).map(({ method }) => method);
  return [...new Set(found)].sort();
}
