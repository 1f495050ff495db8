/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

/* What erofs looks like on disk, as far as our indexes use it (Linux:
 * Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h).  All numbers are little-endian.
 *
 *     0      1024         1152            1536 = nid 48                    block_tail
 *     | zero | superblock | device slot   | inodes, each with its xattrs,  | blocks of folders and
 * links | |      |            | (the tar)     | chunk table or short data      | too long to lie
 * inline      |
 *
 * A node number (nid) is an inode's offset in units of 32 bytes.  A file's bytes are chunks of
 * device 1, the tar. */

#define CX_EROFS_BLOCK_BITS 9
#define CX_EROFS_BLOCK (1u << CX_EROFS_BLOCK_BITS)
#define CX_EROFS_SLOT 32 /* inodes start at multiples of it */

#define CX_EROFS_SUPER_OFFSET 1024
#define CX_EROFS_DEVICE_OFFSET 1152
#define CX_EROFS_META_OFFSET 1536

#define CX_EROFS_MAGIC 0xe0f5e1e2u
#define CX_EROFS_COMPAT_MTIME 0x2u
#define CX_EROFS_INCOMPAT_CHUNKED_FILE 0x4u
#define CX_EROFS_INCOMPAT_DEVICE_TABLE 0x8u

#define CX_EROFS_NULL_BLOCK 0xffffffffu /* a chunk that is a hole */
#define CX_EROFS_NAME_MAX 255
#define CX_EROFS_LINK_MAX 4095
#define CX_EROFS_CHUNK_BITS_MAX 31
#define CX_EROFS_CHUNK_INDEXES 0x20

typedef enum {
    CX_EROFS_FLAT_PLAIN = 0,  /* all data in blocks */
    CX_EROFS_FLAT_INLINE = 2, /* whole blocks in blocks, the rest right behind the inode */
    CX_EROFS_CHUNK_BASED = 4, /* a table of chunks behind the inode */
} CxErofsLayout;

typedef struct {
    guint32 magic;
    guint32 checksum;
    guint32 feature_compat;
    guint8 block_bits;
    guint8 extra_slots;
    guint16 root_nid;
    guint64 inodes;
    guint64 build_time;
    guint32 build_time_nsec;
    guint32 blocks;
    guint32 meta_block;
    guint32 xattr_block;
    guint64 checksum_of_blocks; /* this and the next in place of a UUID: erofs-sum.h */
    guint64 boot;
    guint8 volume_name[16];
    guint32 feature_incompat;
    guint16 compression;
    guint16 extra_devices;
    guint16 device_slot; /* in units of 128 bytes */
    guint8 folder_block_bits;
    guint8 reserved[37];
} CxErofsSuper;

typedef struct {
    guint8 tag[64];
    guint32 blocks;
    guint32 mapped_block;
    guint8 reserved[56];
} CxErofsDevice;

typedef struct {
    guint16 format; /* bit 0: extended; bits 1 to 3: CxErofsLayout */
    guint16 xattr_count;
    guint16 mode;
    guint16 nlink;
    guint32 size;
    guint32 reserved;
    guint32 data; /* first block, device number or chunk format */
    guint32 ino;
    guint16 uid;
    guint16 gid;
    guint32 reserved2;
} CxErofsCompactInode; /* its mtime is the superblock's build time */

typedef struct {
    guint16 format;
    guint16 xattr_count;
    guint16 mode;
    guint16 reserved;
    guint64 size;
    guint32 data;
    guint32 ino;
    guint32 uid;
    guint32 gid;
    guint64 mtime;
    guint32 mtime_nsec;
    guint32 nlink;
    guint8 reserved2[16];
} CxErofsExtendedInode;

/* xattr_count = 0, or 1 + a quarter of the bytes after this header. */
typedef struct {
    guint32 name_filter;
    guint8 shared_count;
    guint8 reserved[7];
} CxErofsXattrHeader;

/* Followed by name (without its prefix) and value, padded to 4 bytes. */
typedef struct {
    guint8 name_size;
    guint8 prefix; /* CxErofsXattrPrefix */
    guint16 value_size;
} CxErofsXattrEntry;

typedef enum {
    CX_EROFS_XATTR_USER = 1,
    CX_EROFS_XATTR_TRUSTED = 4,
    CX_EROFS_XATTR_SECURITY = 6,
} CxErofsXattrPrefix;

typedef struct {
    guint16 reserved;
    guint16 device;
    guint32 block;
} CxErofsChunk;

/* A block of a folder: records, then their names back to back; the first name's offset tells how
 * many records there are.  Records of the whole folder are sorted by name. */
typedef struct {
    guint64 nid;
    guint16 name_offset;
    guint8 file_type;
    guint8 reserved;
} __attribute__((packed)) CxErofsRecord;

G_STATIC_ASSERT(sizeof(CxErofsSuper) == 128);
G_STATIC_ASSERT(sizeof(CxErofsDevice) == 128);
G_STATIC_ASSERT(sizeof(CxErofsCompactInode) == 32);
G_STATIC_ASSERT(sizeof(CxErofsExtendedInode) == 64);
G_STATIC_ASSERT(sizeof(CxErofsXattrHeader) == 12);
G_STATIC_ASSERT(sizeof(CxErofsRecord) == 12);

#define CX_EROFS_XATTR_PREFIXES                                                                    \
    {                                                                                              \
        {CX_EROFS_XATTR_USER, "user."}, {CX_EROFS_XATTR_TRUSTED, "trusted."},                      \
            {CX_EROFS_XATTR_SECURITY, "security."},                                                \
    }
