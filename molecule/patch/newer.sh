#!/usr/bin/env bash
# Makes an installed package known to apt once more with a higher revision, and nothing else: newer PACKAGE REVISION
set -euo pipefail
mkdir -p /var/tmp/newer
chmod 755 /var/tmp/newer
cd /var/tmp/newer
if [ ! -d original ]; then
  apt-get update --quiet
  apt-get download --quiet "$1"
  dpkg-deb --raw-extract "$1"_*.deb unpacked
  # What Debian has updated since the image of the host was made is not for this test.
  mkdir away
  find /etc/apt/sources.list /etc/apt/sources.list.d -type f -exec mv --target-directory=away {} + || true
  mv unpacked original
fi
rm -rf tree ./*.deb
cp --archive original tree
sed -i "s/^Version: .*/&+mainstay$2/" tree/DEBIAN/control
dpkg-deb --build -Znone tree . > /dev/null
{
  cat tree/DEBIAN/control
  echo "Filename: ./$(ls ./*.deb)"
  echo "Size: $(stat --format=%s ./*.deb)"
  echo "SHA256: $(sha256sum ./*.deb | cut --delimiter=' ' --fields=1)"
} > Packages
rm -rf tree
echo 'deb [trusted=yes] file:/var/tmp/newer ./' > /etc/apt/sources.list.d/newer.list
