// Package urlpath owns what the path of a URL may look like: which spellings have one reading for everybody on the way, and what is
// below what. Others decide what becomes of a path that has none.
package urlpath
