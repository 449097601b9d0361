import type { Owner } from '../gofer';
/** For tests: a host that is looked up nowhere, so that plans are the same on every machine. */
import { recordedHierarchies, type RecordedHost } from './cgroup/recorded-hosts';
import { Host } from './host';

export class FixedHost extends Host {
  constructor(private readonly cgroups: RecordedHost) {
    super();
  }

  override get hierarchies(): Host['hierarchies'] {
    return recordedHierarchies(this.cgroups);
  }

  override get lastCapability(): number {
    return 40;
  }

  override get ownCapabilities(): bigint {
    return (1n << 41n) - 1n;
  }

  override hardLimit(): bigint {
    return 524288n;
  }

  /** Everything is there, and a directory unless its name has a dot. */
  override kindOf(path: string): 'directory' | 'other' {
    return path.includes('.') ? 'other' : 'directory';
  }

  override isTmpfs(): boolean {
    return false;
  }

  override viewOf(): undefined {
    return undefined;
  }

  override ownerOf(): Owner {
    return { uid: 0, gid: 0 };
  }

  override realDirectory(path: string): string | undefined {
    return this.kindOf(path) === 'directory' ? path : undefined;
  }
}
