#!/bin/sh
# Makes the image descry-base:bookworm out of Debian's packages, for machines with a Docker engine and no registry to
# pull from. It stands in for debian:bookworm-slim: minimal Debian, with what dpkg and apt need and nothing else.
#
#   setup/base-image.sh FOLDER
#
# FOLDER keeps the file system as a tarball, so that only the first call downloads. Packages come from the mirror that
# this machine's apt is configured with. Needs root. Ends with 69 where the image cannot be made on this machine, with
# the reason in the last line of standard error, and with 1 where making it failed for any other reason.
set -eu

image=descry-base:bookworm
suite=bookworm

cannot() {
    echo "base-image: $1" >&2
    exit 69
}

[ $# -eq 1 ] || { echo "usage: setup/base-image.sh FOLDER" >&2; exit 64; }
docker info >/dev/null 2>&1 || cannot "no Docker engine answers"
if docker image inspect "$image" >/dev/null 2>&1; then
    exit 0
fi

mkdir -p "$1"
folder=$(cd "$1" && pwd)
tarball=$folder/$suite.tar

if [ ! -f "$tarball" ]; then
    [ "$(id -u)" -eq 0 ] || cannot "making $image needs root"
    command -v apt-get >/dev/null || cannot "this machine has no apt to take Debian's packages from"
    # apt itself knows its mirrors in whichever way they are configured.
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v suite="$suite" '$2 == suite && $3 == "main" && $1 ~ /^(https?|file):/ { print $1; exit }')
    [ -n "$mirror" ] || cannot "apt has no mirror of Debian $suite configured"
    # debootstrap downloads by itself and does not read apt's configuration.
    proxy=$(apt-config dump --format '%v%n' Acquire::http::Proxy)
    [ -z "$proxy" ] || export http_proxy="$proxy"
    if ! command -v debootstrap >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        { apt-get install --yes --quiet --no-install-recommends debootstrap ||
            { apt-get update && apt-get install --yes --quiet --no-install-recommends debootstrap; }; } >&2 ||
            cannot "debootstrap is missing and apt cannot install it"
    fi
    scratch=$(mktemp -d "$folder/$suite.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' INT TERM
    debootstrap --variant=minbase "$suite" "$scratch/root" "$mirror" >&2 ||
        cannot "debootstrap could not install Debian $suite from apt's mirror"
    rm -rf "$scratch"/root/var/cache/apt/* "$scratch"/root/var/lib/apt/lists/* "$scratch"/root/var/log/*
    rm -rf "$scratch"/root/usr/share/doc/* "$scratch"/root/usr/share/man/* "$scratch"/root/usr/share/locale/*
    tar --directory "$scratch/root" --numeric-owner --create --file "$scratch/$suite.tar" .
    # Whoever finds the tarball finds it whole.
    mv "$scratch/$suite.tar" "$tarball"
fi

docker import "$tarball" "$image" >&2
