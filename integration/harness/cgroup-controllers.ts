/** Controllers of cgroup v1 that the machine has and has not mounted: a runtime that runs where they are. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Runtime } from './command-line';

const ROOT = '/sys/fs/cgroup';
/** What is at /sys/fs/cgroup, with further hierarchies, in a mount namespace; their cgroups are gone with the command. */
const BESIDE = `set -e
program=$1 top=$2 controllers=$3; shift 3
mount -t tmpfs tmpfs "$top"
for path in ${ROOT}/*; do
  if [ -L "$path" ]; then cp -P "$path" "$top"; else mkdir "$top/\${path##*/}"; mount --bind "$path" "$top/\${path##*/}"; fi
done
for name in $controllers; do mkdir -p "$top/$name"; mount -t cgroup -o "$name" cgroup "$top/$name"; done
mount --move "$top" ${ROOT}
code=0; "$program" "$@" || code=$?
for name in $controllers; do
  find "${ROOT}/$name" -mindepth 1 -depth -type d -exec rmdir {} +
  # A hierarchy that is unmounted before the kernel has let go of its cgroups stays.
  for i in $(seq 100); do
    if grep -q "^$name[[:space:]]*[0-9]*[[:space:]]1[[:space:]]" /proc/cgroups; then break; fi
    sleep 0.1
  done
done
exit $code`;

/** Why there can be no hierarchy of this controller; undefined when there can, or is one. */
export function whyNoController(controller: string): string | undefined {
  if (!existsSync(`${ROOT}/memory/tasks`)) return 'this machine has no cgroup v1 hierarchies';
  const line = new RegExp(`^${controller}\\s+(\\d+)\\s+\\d+\\s+1$`, 'm').exec(readFileSync('/proc/cgroups', 'latin1'));
  if (!line) return `the kernel has no cgroup controller ${controller}`;
  const busy = line[1] !== '0' && !existsSync(`${ROOT}/${controller}/tasks`);
  return busy ? `the cgroup controller ${controller} is in use elsewhere` : undefined;
}

/** @param directory for the wrapper's own files */
export function runtimeWith(controllers: readonly string[], runtime: Runtime, directory: string): Runtime {
  const missing = controllers.filter((name) => !existsSync(`${ROOT}/${name}/tasks`));
  if (missing.length === 0) return runtime;
  const path = `${directory}/with-${missing.join('-')}-${runtime.program.replace(/^.*\//, '')}`;
  mkdirSync(`${path}.cgroup`);
  writeFileSync(`${path}.sh`, BESIDE);
  const words = [runtime.program, `${path}.cgroup`, missing.join(' ')].map((word) => `'${word}'`).join(' ');
  writeFileSync(path, `#!/bin/sh\nexec unshare --mount sh '${path}.sh' ${words} "$@"\n`, { mode: 0o755 });
  return new Runtime(path, runtime.root, runtime.environment);
}
