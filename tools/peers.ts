/** `make peers`: fetches the newer containerds that the tests run against, and says which can be used here. */
import { fetchCriu } from '../integration/harness/criu';
import { fetchDocker } from '../integration/harness/docker-peers';
import { fetchProgramRoot } from '../integration/harness/program-root';
import { fetchRunsc } from '../integration/harness/runsc';
import { fetchPeer, peerNames } from '../integration/harness/peers';

async function main(): Promise<void> {
  for (const name of peerNames) {
    const peer = await fetchPeer(name);
    console.log('version' in peer ? `${name}: containerd ${peer.version}` : `${name}: not available: ${peer.reason}`);
    const docker = await fetchDocker(name);
    if ('reason' in docker) console.log(`${name}: no Docker: ${docker.reason}`);
  }
  await fetchProgramRoot();
  const runsc = await fetchRunsc();
  console.log('path' in runsc ? `runsc: ${runsc.path}` : `runsc: not available: ${runsc.reason}`);
  const criu = await fetchCriu();
  console.log('path' in criu ? `criu: ${criu.version}` : `criu: not available: ${criu.reason}`);
}

void main();
