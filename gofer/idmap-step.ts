const BEFORE = 'showing the owners of ';
const BEHIND = ' as the pod numbers them';

/** The step that fails when a filesystem cannot be idmapped. */
export function idmapStep(source: string): string {
  return `${BEFORE}${source}${BEHIND}`;
}

/** The source that an error's message names, if that was its step. */
export function sourceOfIdmapStep(message: string): string | undefined {
  const end = message.lastIndexOf(BEHIND);
  return message.startsWith(BEFORE) && end > 0 ? message.slice(BEFORE.length, end) : undefined;
}
