import { type Any, unpackTaskOptions } from '../proto';
import { type Config, type ConfigKeys, parseConfig, readConfigFile } from '../sandbox';

/** runc's keys, in a table that is written for either. What it is without being told stays: `false` forbids nothing. */
const RUNC_KEYS: ConfigKeys = {
  SystemdCgroup: (value) => {
    if (typeof value !== 'boolean') return 'must be true or false';
    return value ? { cgroupDriver: 'systemd' } : {};
  },
  ShimCgroup: (value) => {
    if (typeof value !== 'string') return 'must be a path';
    return value === '' ? {} : { shimCgroup: value };
  },
};

/**
 * The configuration of a container: the operator's, and what containerd's configuration of the runtime changes of it, which comes with
 * Create. Of runc's options these are SystemdCgroup and ShimCgroup; of those for other runtimes `ConfigPath` names a file that takes the place of
 * /etc/silt/config.toml, as runsc has it, and from containerd 1.7 on an options table without that comes whole, as TOML of the same keys.
 * @throws SiltError CONFIG_INVALID naming file or table, and key.
 */
export function configWithOptions(config: Config, given: Any | undefined): Config {
  const options = unpackTaskOptions(given);
  if (options.type === 'runc') {
    const { systemdCgroup, shimCgroup } = options.options;
    const driver = systemdCgroup ? { cgroupDriver: 'systemd' as const } : {};
    return { ...config, ...driver, ...(shimCgroup === '' ? {} : { shimCgroup }) };
  }
  if (options.type !== 'runtime') return config;
  const { configPath, configBody } = options.options;
  const base = configPath === '' ? config : readConfigFile(configPath);
  if (configBody.length === 0) return base;
  return parseConfig(Buffer.from(configBody).toString('utf8'), 'the runtime’s options in containerd’s configuration', base, RUNC_KEYS); // prettier-ignore
}
