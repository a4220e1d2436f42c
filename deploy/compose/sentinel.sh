#!/bin/sh
# Starts a Sentinel. What it learns it keeps in its configuration file.
set -eu
file=/data/sentinel.conf
if [ ! -s $file ]; then
	{
		echo 'port 26379'
		echo 'dir /data'
		echo 'protected-mode no'
		echo 'sentinel monitor cloakroom 10.213.8.2 6379 2'
		echo "sentinel auth-pass cloakroom $(cat /run/secrets/password)"
		echo 'sentinel down-after-milliseconds cloakroom 2000'
		echo 'sentinel failover-timeout cloakroom 10000'
	} >$file.new
	mv $file.new $file
fi
exec redis-sentinel $file
