#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Says what it was told when the image was made.
# shellcheck disable=SC3040  # busybox ash knows pipefail
set -euo pipefail
read -r line < "$TOOL_HOME/etc/cache-line" || line=unknown
echo "tool in $TOOL_HOME, tuned for $TOOL_TUNING, cache lines of $line bytes${TOOL_AUTHOR:+, by $TOOL_AUTHOR}"
