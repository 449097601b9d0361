/** `make peers`: fetches the newer containerds that the tests run against, and says which can be used here. */
import { fetchPeer, peerNames } from '../integration/harness/peers';

async function main(): Promise<void> {
  for (const name of peerNames) {
    const peer = await fetchPeer(name);
    console.log('version' in peer ? `${name}: containerd ${peer.version}` : `${name}: not available: ${peer.reason}`);
  }
}

void main();
