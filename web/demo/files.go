// Package demo owns the sample single-page app: static files without a build step that live under Cloakroom's built-in
// content security policy. Others serve them as they are and put no token into them.
package demo

import (
	"embed"
	"io/fs"
)

//go:embed spa
var files embed.FS

// Files are the app's files, index.html at their root.
func Files() fs.FS {
	sub, err := fs.Sub(files, "spa")
	if err != nil {
		panic(err) // "spa" is a valid path: it cannot be
	}
	return sub
}
