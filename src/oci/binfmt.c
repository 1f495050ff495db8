/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/binfmt.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

/* Enough of an ELF file for every magic in use: identification, type, machine. */
#define HEADER_SIZE 20
#define ENTRY_MAX 4096

#ifndef EM_LOONGARCH
#define EM_LOONGARCH 258
#endif

static const struct {
    const char *arch;
    guint8 elf_class;
    guint8 data;
    guint16 machine;
} machines[] = {
    {"386",      ELFCLASS32, ELFDATA2LSB, EM_386      },
    {"amd64",    ELFCLASS64, ELFDATA2LSB, EM_X86_64   },
    {"arm",      ELFCLASS32, ELFDATA2LSB, EM_ARM      },
    {"arm64",    ELFCLASS64, ELFDATA2LSB, EM_AARCH64  },
    {"loong64",  ELFCLASS64, ELFDATA2LSB, EM_LOONGARCH},
    {"mips",     ELFCLASS32, ELFDATA2MSB, EM_MIPS     },
    {"mips64",   ELFCLASS64, ELFDATA2MSB, EM_MIPS     },
    {"mips64le", ELFCLASS64, ELFDATA2LSB, EM_MIPS     },
    {"mipsle",   ELFCLASS32, ELFDATA2LSB, EM_MIPS     },
    {"ppc64",    ELFCLASS64, ELFDATA2MSB, EM_PPC64    },
    {"ppc64le",  ELFCLASS64, ELFDATA2LSB, EM_PPC64    },
    {"riscv64",  ELFCLASS64, ELFDATA2LSB, EM_RISCV    },
    {"s390x",    ELFCLASS64, ELFDATA2MSB, EM_S390     },
};

static gboolean
make_header(const char *arch, guint8 out_header[HEADER_SIZE])
{
    for (gsize i = 0; i < G_N_ELEMENTS(machines); i++) {
        gboolean big = machines[i].data == ELFDATA2MSB;

        if (strcmp(machines[i].arch, arch) != 0)
            continue;
        memset(out_header, 0, HEADER_SIZE);
        memcpy(out_header, ELFMAG, SELFMAG);
        out_header[EI_CLASS] = machines[i].elf_class;
        out_header[EI_DATA] = machines[i].data;
        out_header[EI_VERSION] = EV_CURRENT;
        out_header[big ? 17 : 16] = ET_EXEC;
        out_header[big ? 19 : 18] = (guint8)(machines[i].machine & 0xff);
        out_header[big ? 18 : 19] = (guint8)(machines[i].machine >> 8);
        return TRUE;
    }
    return FALSE;
}

/* Hex digits to bytes.  Returns how many, or -1 for a text that is none or is longer than the
 * header. */
static int
parse_hex(const char *text, guint8 out_bytes[HEADER_SIZE])
{
    int n = 0;

    for (; text[0] != '\0'; text += 2, n++) {
        if (n == HEADER_SIZE || !g_ascii_isxdigit(text[0]) || !g_ascii_isxdigit(text[1]))
            return -1;
        out_bytes[n] = (guint8)(g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]));
    }
    return n;
}

typedef enum {
    MATCH_NONE,
    MATCH_WITHOUT_F, /* right, but its interpreter is looked up inside the image */
    MATCH_FULL,
} Match;

/* Judges the text of one entry: "enabled\ninterpreter …\nflags: OCF\noffset 0\nmagic 7f45…\nmask
 * ffff…\n". */
static Match
judge_entry(const char *text, const guint8 header[HEADER_SIZE])
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint8 magic[HEADER_SIZE], mask[HEADER_SIZE];
    gboolean fixed = FALSE, at_start = FALSE;
    int n = -1;

    if (g_strcmp0(lines[0], "enabled") != 0)
        return MATCH_NONE;

    memset(mask, 0xff, sizeof mask);
    for (guint i = 1; lines[i] != NULL; i++) {
        if (g_str_has_prefix(lines[i], "flags: "))
            fixed = strchr(lines[i] + strlen("flags: "), 'F') != NULL;
        else if (strcmp(lines[i], "offset 0") == 0)
            at_start = TRUE;
        else if (g_str_has_prefix(lines[i], "magic "))
            n = parse_hex(lines[i] + strlen("magic "), magic);
        else if (g_str_has_prefix(lines[i], "mask ") &&
                 parse_hex(lines[i] + strlen("mask "), mask) < 0)
            return MATCH_NONE;
    }
    if (!at_start || n < 0)
        return MATCH_NONE;

    for (int i = 0; i < n; i++)
        if (((magic[i] ^ header[i]) & mask[i]) != 0)
            return MATCH_NONE;
    return fixed ? MATCH_FULL : MATCH_WITHOUT_F;
}

static Match
judge_file(int folder_fd, const char *name, const guint8 header[HEADER_SIZE])
{
    cx_autofd int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char text[ENTRY_MAX];
    gssize n = fd < 0 ? -1 : cx_read_full(fd, text, sizeof text - 1, NULL);

    if (n < 0)
        return MATCH_NONE;

    text[n] = '\0';
    return judge_entry(text, header);
}

gboolean
cx_binfmt_find(int dir_fd, const char *folder, const char *arch, char **out_reason)
{
    cx_autofd int fd = openat(dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autofree char *without_f = NULL;
    guint8 header[HEADER_SIZE];
    struct dirent *entry;
    DIR *dir;

    if (!make_header(arch, header)) {
        *out_reason = g_strdup_printf("no emulator is known for %s", arch);
        return FALSE;
    }
    dir = fd < 0 ? NULL : fdopendir(dup(fd));
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        Match match = judge_file(fd, entry->d_name, header);

        if (match == MATCH_FULL) {
            *out_reason = g_strdup(entry->d_name);
            (void)closedir(dir);
            return TRUE;
        }
        if (match == MATCH_WITHOUT_F && without_f == NULL)
            without_f = g_strdup(entry->d_name);
    }
    if (dir != NULL)
        (void)closedir(dir);

    *out_reason =
        without_f != NULL
            ? g_strdup_printf("binfmt_misc entry \"%s\" has no flag F, so its emulator is not "
                              "found inside an image "
                              "(register it with F)",
                              without_f)
            : g_strdup_printf("nothing runs %s programs here (install qemu-user-static)", arch);
    return FALSE;
}
