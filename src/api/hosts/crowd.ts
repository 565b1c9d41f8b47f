/**
 * Those who have not said who they are. When there are too many the newcomer stays, and the one that has been there longest
 * of the source that has the most goes: so whoever comes to the point at once gets in, however many others say nothing.
 */
export interface Member {
  destroy(): unknown;
}

export class Crowd<M extends Member> {
  readonly #most: number;
  readonly #mostOfOne: number;
  /** By source, the longest there first. */
  readonly #members = new Map<string, Set<M>>();
  #size = 0;

  /** @param mostOfOne of one source */
  constructor(most: number, mostOfOne: number) {
    this.#most = most;
    this.#mostOfOne = mostOfOne;
  }

  enter(source: string, member: M): void {
    const own = this.#members.get(source) ?? new Set();
    this.#members.set(source, own.add(member));
    this.#size++;
    if (own.size > this.#mostOfOne) this.#end(source, own);
    else if (this.#size > this.#most) this.#end(...this.#largest());
  }
  /** It has said who it is, or is gone. */
  leave(source: string, member: M): void {
    const own = this.#members.get(source);
    if (own?.delete(member) !== true) return;
    this.#size--;
    if (own.size === 0) this.#members.delete(source);
  }

  /** Of those that have as many, the one that came first. */
  #largest(): readonly [string, ReadonlySet<M>] {
    return [...this.#members].reduce((largest, one) => (one[1].size > largest[1].size ? one : largest));
  }
  #end(source: string, members: ReadonlySet<M>): void {
    for (const oldest of members) {
      this.leave(source, oldest);
      oldest.destroy();
      return;
    }
  }
}
