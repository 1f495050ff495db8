/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

int
main(void)
{
    static const char line[] = "one file is enough\n";

    return write(STDOUT_FILENO, line, sizeof line - 1) == sizeof line - 1 ? 0 : 1;
}
