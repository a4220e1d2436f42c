// Package memstore owns the embedded engine: sessions in the memory of one process, lost with it. Others leave to it when
// an entry has expired, and close it.
package memstore
