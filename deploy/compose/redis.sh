#!/bin/sh
# Starts one of several Redis: redis.sh master|replica says what it is at its first start. After that it is what the Sentinels last
# made of it, which it keeps in its configuration file.
set -eu
file=/data/redis.conf
if [ ! -s $file ]; then
	{
		echo 'include /run/secrets/redis.conf'
		echo 'dir /data'
		echo 'appendonly yes'
		echo 'maxmemory 256mb'
		echo 'maxmemory-policy noeviction'
		# A master that was cut off from its replicas must not confirm what they will never get.
		echo 'min-replicas-to-write 1'
		echo 'min-replicas-max-lag 10'
		[ "$1" = master ] || echo 'replicaof 10.213.8.2 6379'
	} >$file.new
	mv $file.new $file
fi
exec redis-server $file
