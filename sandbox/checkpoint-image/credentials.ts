/**
 * What CRIU would give the threads of a checkpoint, by its core images (CRIU's images/core.proto and images/creds.proto): the manifest tells what
 * the container was created with, and these what is put into the kernel.
 */
import { CAPABILITY_SETS, capabilityList, capabilityMasks, capabilityName } from '../../oci';
import { firstEntry, messageIn, onlyNumber, type WireField } from './image-file';
import { CORE } from './process-tree';
import type { Rights } from './rights';

const TASK = { state: 1 } as const;
const THREAD = { creds: 10 } as const;
const CREDS = {
  uids: { uid: 1, euid: 3, suid: 5, fsuid: 7 },
  gids: { gid: 2, egid: 4, sgid: 6, fsgid: 8 },
  capabilities: { inheritable: 9, permitted: 10, effective: 11, bounding: 12, ambient: 19 },
  groups: 14,
  noNewPrivileges: 18,
} as const;
/** TASK_DEAD of CRIU: a zombie has nothing but an exit code. */
const DEAD = 2n;
const LAST_CAPABILITY = 63;
const WORD = 0xffffffffn;

/**
 * What a saved thread has that no process of the new container could come to have. Whatever is not as CRIU writes it (a message that is
 * missing, or there twice, of which CRIU takes the last) counts, too. Empty when there is nothing.
 * @param image the thread's core image, whose digest was found right @param name of the image, for the message
 * @throws SiltError CHECKPOINT_FAILED for what is no such image.
 */
export function credentialsBeyond(image: Buffer, name: string, given: Rights): string[] {
  const core = firstEntry(image, name);
  if (!core.some(({ number }) => number === CORE.thread)) {
    const task = messageIn(core, CORE.task);
    return task !== undefined && onlyNumber(task, TASK.state) === DEAD ? [] : [`${name} (without a thread)`];
  }
  const thread = messageIn(core, CORE.thread);
  // A thread without them would go on with CRIU's own.
  const creds = thread && messageIn(thread, THREAD.creds);
  if (thread === undefined || creds === undefined) return [`${name} (without credentials of its own)`];
  return [...capabilitiesBeyond(creds, given), ...idsBeyond(creds, given), ...privilegesBeyond(creds, given)].map(
    (what) => `${name}: ${what}`,
  );
}

function capabilitiesBeyond(creds: readonly WireField[], { spec }: Rights): string[] {
  const masks = capabilityMasks(spec.process?.capabilities ?? {}, LAST_CAPABILITY);
  const any = CAPABILITY_SETS.reduce((all, set) => all | masks[set], 0n);
  // With no_new_privs no execve(2) adds to what is permitted (capabilities(7)).
  const permitted = spec.process?.noNewPrivileges === true ? masks.permitted : any;
  const allowed = { inheritable: any, permitted, effective: permitted, bounding: any, ambient: permitted };
  return CAPABILITY_SETS.flatMap((set) => {
    const words = numbersIn(creds, CREDS.capabilities[set]);
    const has = words.reduce((mask, word, i) => mask | (word << BigInt(32 * i)), 0n);
    const beyond = has & ~allowed[set];
    return beyond === 0n ? [] : [`${set} ${capabilityList(beyond).map(capabilityName).join(' ')}`];
  });
}

/** Whoever has no_new_privs and may not change ids keeps those that he was started with. */
function idsBeyond(creds: readonly WireField[], { spec }: Rights): string[] {
  const { user, capabilities, noNewPrivileges } = spec.process ?? {};
  if (noNewPrivileges !== true) return [];
  const permitted = new Set(capabilities?.permitted);
  const [uid, gid] = [BigInt(user?.uid ?? 0), BigInt(user?.gid ?? 0)];
  const beyond: string[] = [];
  const compare = (fields: Readonly<Record<string, number>>, wanted: bigint): void => {
    for (const [field, number] of Object.entries(fields)) {
      const found = onlyNumber(creds, number);
      if (found !== wanted) beyond.push(`${field} ${found ?? 'unknown'}`);
    }
  };
  if (!permitted.has('CAP_SETUID')) compare(CREDS.uids, uid);
  if (!permitted.has('CAP_SETGID')) {
    compare(CREDS.gids, gid);
    const groups = new Set([gid, ...(user?.additionalGids ?? []).map(BigInt)]);
    const further = numbersIn(creds, CREDS.groups).filter((group) => !groups.has(group));
    if (further.length > 0) beyond.push(`groups ${further.join(' ')}`);
  }
  return beyond;
}

function privilegesBeyond(creds: readonly WireField[], { spec }: Rights): string[] {
  const kept = spec.process?.noNewPrivileges !== true || onlyNumber(creds, CREDS.noNewPrivileges) === 1n;
  return kept ? [] : ['no no_new_privs'];
}

/** The numbers of a repeated field. CRIU writes them one by one; packed, as it reads them as well, they count as anything. */
function numbersIn(fields: readonly WireField[], number: number): bigint[] {
  const found = fields.filter((field) => field.number === number);
  return found.map(({ value }) => (typeof value === 'bigint' ? value & WORD : WORD));
}
