/** What a stream and its thread share. */

/** Places in the shared counters. */
export const at = { stop: 0, sent: 1, received: 2, running: 3 } as const;
export interface StreamTask {
  readonly sendFd: number;
  readonly receiveFd: number;
  /** sockaddr of the target; empty for a connected socket. */
  readonly to: Uint8Array;
  /** Bytes a call. */
  readonly size: number;
  /** Milliseconds between calls; 0 is a flood. */
  readonly gap: number;
  readonly counters: SharedArrayBuffer;
}
