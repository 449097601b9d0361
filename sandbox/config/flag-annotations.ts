import { SiltError } from '../../errors';
import { checkFileAccess, type Config } from './config';
import { parseOverlay, parseOverlay2 } from './overlay-mode';

/** gVisor's annotations that stand for a flag of its command line, for one container. */
const PREFIX = 'dev.gvisor.flag.';

/** The flags that a container can be given: what each changes, or the end of a sentence that says why not. */
const FLAGS: Readonly<Record<string, (value: string) => Partial<Config> | string>> = {
  overlay2: (value) => {
    const overlay = parseOverlay2(value);
    return typeof overlay === 'string' ? overlay : { overlay };
  },
  overlay: (value) => {
    const overlay = parseOverlay(value);
    if (typeof overlay === 'string') return overlay;
    return overlay === undefined ? {} : { overlay };
  },
  'file-access': checkFileAccess,
  'file-access-mounts': checkFileAccess,
};

/**
 * The configuration for one container: the operator's, and what annotations change of it where he allows that.
 * @throws SiltError FLAG_REFUSED for a flag that is not allowed, SPEC_INVALID for a value that is none, SPEC_UNSUPPORTED for a flag that
 * no container can be given here.
 */
export function withFlagAnnotations(config: Config, annotations: Readonly<Record<string, string>>): Config {
  let result = config;
  for (const [key, value] of Object.entries(annotations)) {
    if (!key.startsWith(PREFIX)) continue;
    const flag = key.slice(PREFIX.length);
    const apply = Object.hasOwn(FLAGS, flag) ? FLAGS[flag] : undefined;
    if (!isAllowed(config, flag)) {
      const message = `the annotation ${key} is not allowed here; list ${JSON.stringify(flag)} in allow-flag-override of silt's configuration`;
      throw new SiltError('FLAG_REFUSED', message, { jsonPath: '$.annotations' });
    }
    if (!apply) {
      const message = `the annotation ${key} names a flag that containers cannot be given; they can be given ${Object.keys(FLAGS).join(', ')}`;
      throw new SiltError('SPEC_UNSUPPORTED', message, { jsonPath: '$.annotations' });
    }
    const change = apply(value);
    if (typeof change === 'string')
      throw new SiltError('SPEC_INVALID', `the annotation ${key} ${change}`, { jsonPath: '$.annotations' });
    result = { ...result, ...change };
  }
  if (annotations[`${PREFIX}overlay`] === 'true' && annotations[`${PREFIX}overlay2`] !== undefined) {
    const message = `the annotation ${PREFIX}overlay stands for ${PREFIX}overlay2=all:memory; give one of the two`;
    throw new SiltError('SPEC_INVALID', message, { jsonPath: '$.annotations' });
  }
  return result;
}

function isAllowed({ allowFlagOverride }: Config, flag: string): boolean {
  return typeof allowFlagOverride === 'boolean' ? allowFlagOverride : allowFlagOverride.includes(flag);
}
