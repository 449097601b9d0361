/** The image of a pod's sandbox container, built on the spot: one static program. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkout } from '../checkout';
import { mustRun } from '../command';
import { imageLayout } from '../image';

export const pauseImageName = 'silt.test/pause:1';

export async function buildPauseImage(): Promise<Buffer> {
  const directory = mkdtempSync(join(tmpdir(), 'silt-pause-'));
  try {
    const program = join(directory, 'pause');
    const source = join(checkout, 'integration/harness/cri/pause.c');
    await mustRun(['gcc', '-Os', '-static', '-s', '-o', program, source]);
    return imageLayout(pauseImageName, [[{ name: 'pause', content: readFileSync(program), mode: 0o755 }]], {
      Entrypoint: ['/pause'],
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
}
