/** The lists of a checkpoint: JSON, and its own SHA-256 in the last line, so that damage is found before anything is believed. */
import { closeSync, constants, fsync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { SiltError } from '../../errors';
import { digest } from './digests';

/** Writes a list and puts it on disk. */
export async function writeSealed(path: string, list: object): Promise<void> {
  const body = JSON.stringify(list, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value), 1);
  writeFileSync(path, `${body}\n${digest(Buffer.from(body))}\n`, { mode: 0o600 });
  await sync(path);
}

/** The text of a list, which is no symlink to a file elsewhere. @throws Error of the file system, ELOOP for a symlink. */
export function readList(path: string): string {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

/**
 * The list of which this is the text.
 * @param path of its file, for messages
 * @throws SiltError CHECKPOINT_INVALID for one that was changed or cut short, and for what is no JSON object.
 */
export function unseal(path: string, text: string): object {
  const { body, seal } = split(text);
  if (seal !== digest(Buffer.from(body))) {
    const message = `${path} is damaged or was changed: its digest is not that of its content; take the checkpoint anew`;
    throw new SiltError('CHECKPOINT_INVALID', message, { path });
  }
  // Whoever writes a checkpoint can write the digest of anything.
  const list = parse(body);
  if (list !== undefined) return list;
  const message = `${path} is no manifest: it holds no JSON object; take the checkpoint anew`;
  throw new SiltError('CHECKPOINT_INVALID', message, { path });
}

/** What a list says, whether its digest is right or not, or it has none; undefined for what is no list. */
export function unverified(text: string): object | undefined {
  return parse(split(text).body) ?? unsealed(text);
}

/** The list of a format that had no digest; undefined for what is none, and for one that has a digest. */
export function unsealed(text: string): object | undefined {
  return parse(text);
}

function split(text: string): { readonly body: string; readonly seal: string } {
  const end = text.lastIndexOf('\n', text.length - 2);
  return { body: text.slice(0, Math.max(end, 0)), seal: text.slice(end + 1).trim() };
}

function parse(text: string): object | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined;
  } catch {
    return undefined;
  }
}

const syncLater = promisify(fsync);

/** fsync(2) of a file or directory, beside the event loop: a disk may take its time. */
export async function sync(path: string): Promise<void> {
  const file = openSync(path, 'r');
  try {
    await syncLater(file);
  } finally {
    closeSync(file);
  }
}
