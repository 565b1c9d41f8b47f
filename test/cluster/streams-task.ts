/** What streams and their thread share. */

/** Places in the shared counters; after them come those of each line. */
export const places = { stop: 0, running: 1, hold: 2 } as const;
export const each = { sent: 0, received: 1 } as const;
export const lineAt = (line: number): number => 3 + 2 * line;
/** Times of receipt that are kept for each line. */
export const ringSize = 1 << 16;

export interface StreamsTask {
  readonly lines: readonly {
    readonly sendFd: number;
    readonly receiveFd: number;
    /** sockaddr of the target. */
    readonly to: Uint8Array;
    readonly size: number;
  }[];
  /** Milliseconds between two packets of a line. */
  readonly gap: number;
  readonly counters: SharedArrayBuffer;
  readonly stamps: SharedArrayBuffer;
}
