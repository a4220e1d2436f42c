#!/bin/sh
# Makes the secrets that are not there yet: /secrets/NAME is the volume that NAME alone reads. Run again, it changes nothing;
# `docker compose down --volumes` forgets them, and with them every session.
set -eu
umask 022 # the volumes are read by users of other numbers; who sees a volume is what is restricted

# make FILE: 32 random bytes in base64, as `cloakroom secret` prints them
make() {
	[ -s "$1" ] && return
	head -c 32 /dev/urandom | base64 >"$1.new"
	mv "$1.new" "$1"
}

# share FILE FILE: both parties of a password know the same
share() {
	cp "$1" "$2.new"
	mv "$2.new" "$2"
}

make /secrets/cloakroom/cloakroom-1 # seals sessions, signs tokens
make /secrets/cloakroom/admin-token
make /secrets/cloakroom/client-secret
share /secrets/cloakroom/client-secret /secrets/provider/client-secret
make /secrets/cloakroom/orders-secret
share /secrets/cloakroom/orders-secret /secrets/orders/orders-secret
make /secrets/cloakroom/redis-password
share /secrets/cloakroom/redis-password /secrets/redis/password
password=$(cat /secrets/redis/password)
printf 'requirepass %s\nmasterauth %s\n' "$password" "$password" >/secrets/redis/redis.conf
