/** Parts of the manifests of pods that a real kubelet runs. */
import { imageName } from '../image';

/** The test image, which no registry has. */
export const image = { image: imageName, imagePullPolicy: 'Never' };
/** What a container runs: a shell's script. */
export const sh = (script: string): object => ({ command: ['sh', '-c', script] });
/** A container that does nothing. */
export const sleeping = { ...image, command: ['sleep', '1000'], name: 'main' };
/** Of a pod whose containers need not be given time to end. */
export const noGrace = { terminationGracePeriodSeconds: 0 };
