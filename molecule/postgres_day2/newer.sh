#!/usr/bin/env bash
# Builds an installed package once more with a higher revision of Debian, and makes it known to apt: newer PACKAGE
set -euo pipefail
rm -rf /var/tmp/newer
mkdir -p /var/tmp/newer
chmod 755 /var/tmp/newer
cd /var/tmp/newer
apt-get download --quiet "$1"
dpkg-deb --raw-extract "$1"_*.deb tree
rm "$1"_*.deb
sed -i 's/^Version: .*/&+mainstay1/' tree/DEBIAN/control
dpkg-deb --build -Znone tree . > /dev/null
{
  cat tree/DEBIAN/control
  echo "Filename: ./$(ls ./*.deb)"
  echo "Size: $(stat --format=%s ./*.deb)"
  echo "SHA256: $(sha256sum ./*.deb | cut --delimiter=' ' --fields=1)"
} > Packages
rm -rf tree
echo 'deb [trusted=yes] file:/var/tmp/newer ./' > /etc/apt/sources.list.d/newer.list
