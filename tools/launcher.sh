#!/bin/sh
# Starts silt's bundle for this name with the pinned Node: from PREFIX/lib/silt when installed, from build/ in the checkout.
here=$(dirname "$(readlink -f "$0")")
library=$here/../lib/silt
[ -e "$library/node" ] || library=$here/../build
case ${0##*/} in
  containerd-shim-*) bundle=shim.js ;;
  *) bundle=cli.js ;;
esac
exec "$library/node" "$library/$bundle" "$@"
