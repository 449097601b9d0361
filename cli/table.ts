/**
 * Rows of text in columns, as Go's text/tabwriter lays out what runc prints: columns are at least 12 wide, with three blanks or
 * more between them.
 */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(12, ...rows.map((row) => (row[column] ?? '').length + 3)));
  return rows
    .map((row) => {
      const cells = row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!)));
      return `${cells.join('')}\n`;
    })
    .join('');
}
