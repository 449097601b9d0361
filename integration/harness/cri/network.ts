/** The pods' network of one test run: a bridge of its own name and subnet, by Debian's containernetworking-plugins. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { runCommand } from '../command';

export const cniPlugins = '/usr/lib/cni';

export class PodNetwork {
  /** At most 15 characters (IFNAMSIZ of netdevice(7)). */
  readonly bridge: string;
  readonly configurations: string;

  /** Writes the network's configuration below `directory`; with the plugin for ports of the host if told. The bridge comes with the first pod. */
  constructor(directory: string, mark: string, hostPorts = false) {
    if (!existsSync(join(cniPlugins, 'bridge')))
      throw new Error(`no CNI plugins in ${cniPlugins}: install the Debian package containernetworking-plugins`);
    this.bridge = `st${mark.slice(-8).replace(/[^A-Za-z0-9]/g, '0')}`;
    this.configurations = join(directory, 'cni');
    mkdirSync(this.configurations);
    const bridge = {
      type: 'bridge',
      bridge: this.bridge,
      isGateway: true,
      ipMasq: false,
      // Several runs may be on one machine; a private range that hardly anything else uses.
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: `10.${randomInt(128, 250)}.${randomInt(0, 256)}.0/24` }]],
        dataDir: join(directory, 'addresses'),
        routes: [{ dst: '0.0.0.0/0' }],
      },
    };
    const portmap = { type: 'portmap', capabilities: { portMappings: true }, snat: true };
    const network = { cniVersion: '1.0.0', name: mark, plugins: [bridge, ...(hostPorts ? [portmap] : [])] };
    writeFileSync(join(this.configurations, '10-test.conflist'), JSON.stringify(network));
  }

  /** Takes the bridge away, if a pod has made it. */
  async remove(): Promise<void> {
    await runCommand(['ip', 'link', 'delete', this.bridge]);
  }
}
