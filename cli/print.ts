let isWatched = false;

/** Writes to standard output. Making its stream takes a while, and most commands say nothing. */
export function print(text: string): void {
  if (!isWatched) {
    isWatched = true;
    // Whoever reads it may stop: `silt list | head -1`.
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit();
      throw error;
    });
  }
  process.stdout.write(text);
}
