import { memberOf, refuse, show } from './checks/shape';

/** Something in the spec that silt cannot do yet, or never will. */
export interface Unsupported {
  /** Where it stands, `[]` for each item of a list. */
  readonly field: string;
  /** Only this value of the field; without it, the field as such. */
  readonly value?: string;
  /** Goes on after "is not supported:". */
  readonly reason: string;
}

/**
 * Everything of the OCI spec that silt refuses by name. Nothing is skipped in silence: a field of the spec is either acted
 * upon or in this table. Whoever adds a feature takes its row away.
 */
export const unsupportedFields: readonly Unsupported[] = [
  { field: 'windows', reason: 'it is for another platform' },
  { field: 'solaris', reason: 'it is for another platform' },
  { field: 'zos', reason: 'it is for another platform' },
  { field: 'freebsd', reason: 'it is for another platform' },
  { field: 'vm', reason: 'it is for runtimes that start virtual machines' },
  { field: 'process.commandLine', reason: 'it is for another platform; give process.args' },
  { field: 'linux.personality.flags', reason: 'OCI defines none' },
];

/**
 * Refuses what the table names.
 * @param document what JSON.parse gave for the object called `name`, such as `process`, or for the whole spec when that is empty
 * @param path the JSON path of that object
 * @throws SiltError SPEC_UNSUPPORTED
 */
export function refuseUnsupported(document: unknown, path: string, name = ''): void {
  const prefix = name === '' ? '' : `${name}.`;
  for (const row of unsupportedFields) {
    if (row.field.startsWith(prefix)) visit(document, path, row.field.slice(prefix.length), row);
  }
}

function visit(value: unknown, path: string, field: string, row: Unsupported): void {
  if (value === undefined || value === null) return;
  if (field === '') {
    if (row.value === undefined ? isSet(value) : value === row.value) {
      const what = row.value === undefined ? '' : `${show(row.value)} `;
      throw refuse(path, `${what}is not supported: ${row.reason}`, 'SPEC_UNSUPPORTED');
    }
    return;
  }
  if (field.startsWith('[]')) {
    const rest = field.slice(2).replace(/^\./, '');
    if (Array.isArray(value)) value.forEach((item, i) => visit(item, `${path}[${i}]`, rest, row));
    return;
  }
  const key = /^\w+/.exec(field)![0];
  const rest = field.slice(key.length).replace(/^\./, '');
  if (typeof value === 'object') visit(memberOf(value as Record<string, unknown>, key), `${path}.${key}`, rest, row);
}

/** Go programs write fields that nobody set as empty ones. */
function isSet(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === 'object' && value !== null)
    return Object.values(value).some((one) => one !== null && isSet(one));
  return value !== '' && value !== false;
}
