/** How far something is, in bytes of which `total` may be an estimate. */
export interface Progress {
  readonly done: number;
  readonly total: number;
}
export type OnProgress = (progress: Progress) => void;

const LOOK_MS = 100;

/**
 * Tells how far something is ten times a second, until the returned function is called.
 * @param onProgress whom to tell; nothing is done for nobody
 * @param look where it is; what it throws is left out: what it looks at may not be there yet, or have ended
 */
export function watchProgress(onProgress: OnProgress | undefined, look: () => Progress): () => void {
  if (!onProgress) return () => undefined;
  const tell = (): void => {
    let progress: Progress;
    try {
      progress = look();
    } catch {
      return;
    }
    onProgress(progress);
  };
  tell();
  const timer = setInterval(tell, LOOK_MS);
  return () => clearInterval(timer);
}
