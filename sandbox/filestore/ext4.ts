/**
 * An empty ext4, as the bytes that have to be written into a sparse file. What is a hole stays one: inode tables and the bitmaps
 * of untouched groups are made by the kernel when it needs them (Documentation/filesystems/ext4, "Block Group Descriptors").
 *
 * It has no journal, for it does not outlive the machine's next boot, and no copies of its superblock.
 */
import { SiltError } from '../../errors';
import { crc16 } from './crc16';

const BLOCK = 4096;
/** A bitmap of one block has a bit for each. */
const GROUP_BLOCKS = 8 * BLOCK;
const INODE = 256;
const INODES_PER_BLOCK = BLOCK / INODE;
/** One inode for so many bytes: small files are what containers write. */
const BYTES_PER_INODE = 8192;
const DESCRIPTOR = 32;
/** Block numbers have 32 bits here. */
const MAX_BLOCKS = 2 ** 32 - 1;

const ROOT = 2;
const LOST_AND_FOUND = 11;
const FIRST_INODE = 11;

/** struct ext4_super_block: offsets of what differs from filesystem to filesystem, or is a feature. */
const COMPAT = 0x8 | 0x20 | 0x200; // ext_attr, dir_index, sparse_super2
const INCOMPAT = 0x2 | 0x40; // filetype, extents
const RO_COMPAT = 0x2 | 0x8 | 0x10 | 0x20 | 0x40; // large_file, huge_file, gdt_csum, dir_nlink, extra_isize
const INODE_UNINIT = 1;
const BLOCK_UNINIT = 2;
const INODE_ZEROED = 4;
const EXTENTS_FLAG = 0x80000;

export interface Ext4Options {
  readonly sizeBytes: number;
  /** 16 bytes each; random ones. */
  readonly uuid: Uint8Array;
  readonly hashSeed: Uint8Array;
  /** Seconds since 1970. */
  readonly time: number;
}

/** A filesystem of {@link sizeBytes}, which is at most what was asked for. */
export interface Ext4Image {
  readonly sizeBytes: number;
  readonly pieces: readonly { readonly offset: number; readonly bytes: Uint8Array }[];
}

interface Layout {
  readonly blocks: number;
  readonly groups: number;
  readonly descriptorBlocks: number;
  readonly inodesPerGroup: number;
  readonly tableBlocks: number;
}

/** @throws SiltError CONFIG_INVALID for a size that cannot hold a file. */
export function formatExt4(options: Ext4Options): Ext4Image {
  const layout = layOut(options.sizeBytes);
  const rootBlock = firstData(layout, 0);
  const groups = Array.from({ length: layout.groups }, (_, group) => describeGroup(layout, group, options.uuid));
  const zero = groups[0]!;
  const last = groups.at(-1)!;
  const head = Buffer.alloc(BLOCK);
  head.set(superblock(layout, groups, options), 1024);
  const pieces = [
    { offset: 0, bytes: head },
    { offset: BLOCK, bytes: Buffer.concat(groups.map(({ descriptor }) => descriptor)) },
    { offset: zero.blockBitmap * BLOCK, bytes: blockBitmap(layout, 0, 2) },
    { offset: zero.inodeBitmap * BLOCK, bytes: bitmap(FIRST_INODE, layout.inodesPerGroup) },
    { offset: inodeOffset(zero, ROOT), bytes: directoryInode(rootBlock, 3, 0o755, options.time) },
    { offset: inodeOffset(zero, LOST_AND_FOUND), bytes: directoryInode(rootBlock + 1, 2, 0o700, options.time) },
    { offset: rootBlock * BLOCK, bytes: directoryBlock(ROOT, ROOT, LOST_AND_FOUND) },
    { offset: (rootBlock + 1) * BLOCK, bytes: directoryBlock(LOST_AND_FOUND, ROOT, 0) },
  ];
  // The last group is cut short, which the kernel does not know of a bitmap that it has to make.
  if (last !== zero)
    pieces.push({ offset: last.blockBitmap * BLOCK, bytes: blockBitmap(layout, layout.groups - 1, 0) });
  return { sizeBytes: layout.blocks * BLOCK, pieces };
}

function layOut(sizeBytes: number): Layout {
  let blocks = Math.min(Math.floor(sizeBytes / BLOCK), MAX_BLOCKS);
  const inodesPerGroup =
    Math.ceil((Math.min(blocks, GROUP_BLOCKS) * BLOCK) / BYTES_PER_INODE / INODES_PER_BLOCK) * INODES_PER_BLOCK;
  const tableBlocks = inodesPerGroup / INODES_PER_BLOCK;
  const rest = blocks % GROUP_BLOCKS;
  // A last group without room for more than its own tables is left out.
  if (blocks > GROUP_BLOCKS && rest > 0 && rest < tableBlocks + 64) blocks -= rest;
  const groups = Math.ceil(blocks / GROUP_BLOCKS);
  const descriptorBlocks = Math.ceil((groups * DESCRIPTOR) / BLOCK);
  const layout = { blocks, groups, descriptorBlocks, inodesPerGroup, tableBlocks };
  if (!(blocks >= firstData(layout, 0) + 16))
    throw new SiltError('CONFIG_INVALID', `a filestore of ${sizeBytes} bytes is too small to hold a filesystem`);
  return layout;
}

/** The first block of a group that is no metadata: bitmaps and inode table lie at its beginning, in group 0 behind the descriptors. */
function firstData({ descriptorBlocks, tableBlocks }: Layout, group: number): number {
  return group * GROUP_BLOCKS + (group === 0 ? 1 + descriptorBlocks : 0) + 2 + tableBlocks;
}

interface Group {
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: number;
  readonly freeBlocks: number;
  readonly freeInodes: number;
  readonly descriptor: Buffer;
}

/** struct ext4_group_desc, 32 bytes. */
function describeGroup(layout: Layout, group: number, uuid: Uint8Array): Group {
  const inodeTable = firstData(layout, group) - layout.tableBlocks;
  const [blockBitmap, inodeBitmap] = [inodeTable - 2, inodeTable - 1];
  const end = Math.min((group + 1) * GROUP_BLOCKS, layout.blocks);
  const used =
    group === 0 ? { blocks: 2, inodes: FIRST_INODE, directories: 2 } : { blocks: 0, inodes: 0, directories: 0 };
  const freeBlocks = end - firstData(layout, group) - used.blocks;
  const freeInodes = layout.inodesPerGroup - used.inodes;
  const uninit = (group === 0 ? 0 : INODE_UNINIT) | (group === 0 || group === layout.groups - 1 ? 0 : BLOCK_UNINIT);
  const descriptor = Buffer.alloc(DESCRIPTOR);
  descriptor.writeUInt32LE(blockBitmap, 0);
  descriptor.writeUInt32LE(inodeBitmap, 4);
  descriptor.writeUInt32LE(inodeTable, 8);
  descriptor.writeUInt16LE(freeBlocks, 12);
  descriptor.writeUInt16LE(freeInodes, 14);
  descriptor.writeUInt16LE(used.directories, 16);
  descriptor.writeUInt16LE(uninit | INODE_ZEROED, 18);
  descriptor.writeUInt16LE(freeInodes, 28);
  const number = Buffer.alloc(4);
  number.writeUInt32LE(group);
  const checksum = [uuid, number, descriptor.subarray(0, 30)].reduce((sum, part) => crc16(sum, part), 0xffff);
  descriptor.writeUInt16LE(checksum, 30);
  return { blockBitmap, inodeBitmap, inodeTable, freeBlocks, freeInodes, descriptor };
}

function superblock(layout: Layout, groups: readonly Group[], { uuid, hashSeed, time }: Ext4Options): Buffer {
  const b = Buffer.alloc(1024);
  const total = (of: 'freeBlocks' | 'freeInodes'): number => groups.reduce((sum, group) => sum + group[of], 0);
  b.writeUInt32LE(layout.inodesPerGroup * layout.groups, 0);
  b.writeUInt32LE(layout.blocks, 4);
  b.writeUInt32LE(total('freeBlocks'), 12);
  b.writeUInt32LE(total('freeInodes'), 16);
  b.writeUInt32LE(2, 24); // block size 1024 << 2
  b.writeUInt32LE(2, 28); // cluster size
  b.writeUInt32LE(GROUP_BLOCKS, 32);
  b.writeUInt32LE(GROUP_BLOCKS, 36);
  b.writeUInt32LE(layout.inodesPerGroup, 40);
  b.writeUInt32LE(time, 48);
  b.writeUInt16LE(0xffff, 54); // no check after so many mounts
  b.writeUInt16LE(0xef53, 56);
  b.writeUInt16LE(1, 58); // clean
  b.writeUInt16LE(1, 60); // on errors: go on
  b.writeUInt32LE(time, 64);
  b.writeUInt32LE(1, 76); // dynamic revision
  b.writeUInt32LE(FIRST_INODE, 84);
  b.writeUInt16LE(INODE, 88);
  b.writeUInt32LE(COMPAT, 92);
  b.writeUInt32LE(INCOMPAT, 96);
  b.writeUInt32LE(RO_COMPAT, 100);
  b.set(uuid, 104);
  b.set(hashSeed, 236);
  b.writeUInt8(1, 252); // half MD4
  b.writeUInt32LE(0xc, 256); // user_xattr, acl
  b.writeUInt32LE(time, 264);
  b.writeUInt16LE(32, 348); // min_extra_isize
  b.writeUInt16LE(32, 350); // want_extra_isize
  b.writeUInt32LE(1, 352); // directory hashes of signed characters
  return b;
}

function inodeOffset({ inodeTable }: Group, inode: number): number {
  return inodeTable * BLOCK + (inode - 1) * INODE;
}

/** struct ext4_inode of a directory of one block, found by an extent. */
function directoryInode(block: number, links: number, mode: number, time: number): Buffer {
  const b = Buffer.alloc(INODE);
  b.writeUInt16LE(0o040000 | mode, 0);
  b.writeUInt32LE(BLOCK, 4);
  for (const at of [8, 12, 16, 144]) b.writeUInt32LE(time, at);
  b.writeUInt16LE(links, 26);
  b.writeUInt32LE(BLOCK / 512, 28);
  b.writeUInt32LE(EXTENTS_FLAG, 32);
  b.writeUInt16LE(0xf30a, 40); // extent header: one of four, depth 0
  b.writeUInt16LE(1, 42);
  b.writeUInt16LE(4, 44);
  b.writeUInt16LE(1, 56); // of one block, the first
  b.writeUInt32LE(block, 60);
  b.writeUInt16LE(32, 128); // i_extra_isize
  return b;
}

/** struct ext4_dir_entry_2: `.`, `..`, and lost+found if it is one of them. The last entry reaches to the block's end. */
function directoryBlock(self: number, parent: number, lostAndFound: number): Buffer {
  const entries: [number, string][] = [
    [self, '.'],
    [parent, '..'],
  ];
  if (lostAndFound !== 0) entries.push([lostAndFound, 'lost+found']);
  const b = Buffer.alloc(BLOCK);
  let at = 0;
  entries.forEach(([inode, name], i) => {
    const length = i === entries.length - 1 ? BLOCK - at : (8 + name.length + 3) & ~3;
    b.writeUInt32LE(inode, at);
    b.writeUInt16LE(length, at + 4);
    b.writeUInt8(name.length, at + 6);
    b.writeUInt8(2, at + 7); // a directory
    b.write(name, at + 8, 'latin1');
    at += length;
  });
  return b;
}

/** The group's metadata and the first `used` blocks behind it; what lies beyond the filesystem's end counts as used. */
function blockBitmap(layout: Layout, group: number, used: number): Buffer {
  const start = group * GROUP_BLOCKS;
  return bitmap(firstData(layout, group) + used - start, Math.min(layout.blocks - start, GROUP_BLOCKS));
}

/** A block of bits: the first `used` are set, and those from `size` on. */
function bitmap(used: number, size: number): Buffer {
  const b = Buffer.alloc(BLOCK);
  const set = (from: number, to: number): void => {
    for (let bit = from; bit < to; bit++) b[bit >> 3]! |= 1 << (bit & 7);
  };
  set(0, used);
  set(size, 8 * BLOCK);
  return b;
}
