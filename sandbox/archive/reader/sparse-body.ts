/** Where the bytes of a file lie, with the map of a sparse file read in whichever way it is written. */
import { BLOCK, type Header } from '../codec/header';
import { checkSparse, oldGnuMap, oldGnuMapLength, paxMap00, paxMap01, type Sparse, storedMap } from '../codec/sparse';
import type { Extended } from './extended';

export interface Layout {
  /** Bytes of the map between the last header and the data. */
  readonly mapLength: number;
  /** Bytes of data. */
  readonly stored: number;
  readonly sparse: Sparse | undefined;
}

interface Situation {
  readonly header: Header;
  readonly extended: Extended;
  readonly data: Buffer;
  /** Where in `data` the header lies, and how far `data` can be read. */
  readonly headerAt: number;
  readonly end: number;
  /** The size that the header gives. */
  readonly stored: number;
}

/** The layout; the reason when its map is malformed; `undefined` when more of the archive is needed. */
export function readLayout(situation: Situation): Layout | string | undefined {
  const found = find(situation);
  if (typeof found === 'string' || found?.sparse === undefined) return found;
  return checkSparse(found.sparse, found.stored) ?? found;
}

function find({ header, extended, data, headerAt, end, stored }: Situation): Layout | string | undefined {
  if (header.type === 'S') {
    const mapLength = oldGnuMapLength(data, headerAt, end);
    if (mapLength === undefined) return undefined;
    return withMap(oldGnuMap(data, headerAt, mapLength), mapLength, stored);
  }
  const records = extended.sparse;
  const size = records?.get('realsize') ?? records?.get('size');
  if (!records || size === undefined) return { mapLength: 0, stored, sparse: undefined };
  const version = `${records.get('major')?.toString('latin1') ?? '0'}.${records.get('minor')?.toString('latin1') ?? '?'}`;
  if (version === '1.0') {
    const dataAt = headerAt + BLOCK;
    const map = storedMap(data, dataAt, Math.min(end, dataAt + stored), size);
    if (map === undefined) return end < dataAt + stored ? undefined : 'its sparse map is longer than its contents';
    if (typeof map === 'string') return map;
    return map.length > stored
      ? 'its sparse map is longer than its contents'
      : withMap(map.sparse, map.length, stored - map.length);
  }
  if (!version.startsWith('0.')) return `its sparse map has the unknown version ${version}`;
  const map = records.get('map');
  return withMap(map ? paxMap01(map, size) : paxMap00(extended.records, size), 0, stored);
}

function withMap(sparse: Sparse | string, mapLength: number, stored: number): Layout | string {
  return typeof sparse === 'string' ? sparse : { mapLength, stored, sparse };
}
