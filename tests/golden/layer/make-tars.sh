#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the archives of this folder anew, as root, with whatever GNU tar, bsdtar, busybox, python3 and go are installed.
# They are kept so that the reader is tested against programs that the testing machine need not have.  What each must
# read as stands beside it in NAME.txt, which "CX_REFRESH=1 layer-tar-reader" writes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
cd "$work"

hundred=$(printf 'd%.0s' $(seq 100))
mkdir -p "t/$hundred/$hundred" t/empty
cd t
printf 'hello\n' > file
ln file hard
ln -s ../../etc/passwd escape
ln -s "$hundred$hundred" long-link
printf 'deep\n' > "$hundred/$hundred/file"
printf 'umlaut\n' > ünïcode
mkfifo pipe
mknod null c 1 3
truncate -s 100000 sparse
printf 'middle' | dd of=sparse bs=1 seek=40960 conv=notrunc status=none
truncate -s 70000 hole
setfattr -n user.note -v 'a=b' file
setfattr -n user.bytes -v 0x00ff0a3d file
chmod 4755 file
chmod 1777 empty
chown 3000000:4000000 ünïcode
chown 1000:100 empty
find . -exec touch -h -d '2021-03-04T05:06:07.123456789Z' {} +
touch -d '1969-12-31T23:59:58Z' empty
cd ..

list=(escape file hard long-link null pipe sparse hole ünïcode empty "$hundred")
tar -C t -S --format=gnu -cf gnu-tar-gnu.tar "${list[@]}"
tar -C t -S --format=oldgnu -cf gnu-tar-oldgnu.tar "${list[@]}"
for version in 0.0 0.1 1.0; do
    tar -C t --xattrs -S --format=pax --sparse-version=$version -cf gnu-tar-pax-$version.tar "${list[@]}"
done
tar -C t --format=ustar -cf gnu-tar-ustar.tar escape file hard null pipe
tar -C t --format=v7 -cf gnu-tar-v7.tar escape file hard
bsdtar -C t --format=pax -cf bsdtar-pax.tar "${list[@]}"
bsdtar -C t --format=gnutar -cf bsdtar-gnutar.tar "${list[@]}"
bsdtar -C t --format=ustar -cf bsdtar-ustar.tar escape file hard null pipe
busybox tar -C t -cf busybox.tar escape file hard long-link null pipe ünïcode empty "$hundred"

cat > make.py <<'P'
import sys, tarfile
for name, form in ("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT):
    with tarfile.open(f"python-{name}.tar", "w", format=form) as tar:
        for path in sys.argv[1:]:
            if name == "ustar" and (len(path) > 99 or path.startswith("ü") or path in ("long-link", "empty")):
                continue
            tar.add("t/" + path, path)
P
python3 make.py "${list[@]}"

cat > make.go <<'G'
package main

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
)

func main() {
	for name, format := range map[string]tar.Format{"gnu": tar.FormatGNU, "pax": tar.FormatPAX} {
		out, _ := os.Create("go-" + name + ".tar")
		w := tar.NewWriter(out)
		for _, root := range os.Args[1:] {
			filepath.Walk("t/"+root, func(path string, info os.FileInfo, err error) error {
				link, _ := os.Readlink(path)
				header, err := tar.FileInfoHeader(info, link)
				if err != nil {
					panic(err)
				}
				header.Name, _ = filepath.Rel("t", path)
				header.Format = format
				header.Uname, header.Gname = "", ""
				if info.IsDir() {
					header.Name += "/"
				}
				if root == "file" && format == tar.FormatPAX {
					header.PAXRecords = map[string]string{"SCHILY.xattr.user.note": "a=b"}
				}
				if err := w.WriteHeader(header); err != nil {
					panic(err)
				}
				if info.Mode().IsRegular() {
					in, _ := os.Open(path)
					io.Copy(w, in)
				}
				return nil
			})
		}
		w.Close()
		out.Close()
	}
}
G
GOCACHE="$work/go" GO111MODULE=off go run make.go "${list[@]}"

for tar in *.tar; do
    gzip -9n < "$tar" > "$here/$tar.gz"
done
