/** The parts of the eBPF driver that root's own commands use without an agent: the probe and the purge. */
export { EbpfDriver, purgePlane } from '../dataplane/ebpf/driver.ts';
