// Package redisstore owns the production engine: sessions in Redis 6.2 to 8, or what speaks like it. Others leave every
// key name, script and connection to it, and learn nothing of Redis from it but that it does not answer.
package redisstore
