#!/bin/sh
# Starts one of several Redis: redis.sh NAME, where NAME is its host's. `redis` is the master at the first start; after that each
# is what the Sentinels last made of it, which it keeps in its configuration file.
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
		echo "replica-announce-ip $1"
		[ "$1" = redis ] || echo 'replicaof redis 6379'
	} >$file.new
	mv $file.new $file
fi
exec redis-server $file
