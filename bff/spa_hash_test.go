package bff

import "testing"

func TestHasHash(t *testing.T) {
	for _, name := range []string{
		"index-BxY1z2aB.js", "index-Bx-1z_aB.js", "index-DiwrgTda.css", "vendor-react-C3pO9xYz.js", "logo-a1b2c3d4.svg", "index-BxY1z2aB.js.map", // Vite
		"main.3f2a1b4c.js", "main.3f2a1b4c5d6e7f8091a2.chunk.js", "static.3f2a1b4c.css", "787.c9a0d1e2.chunk.js", // webpack
		"chunk-ABCDEFG2.js", "main-ABCDEFGH.js", // esbuild, Angular
		"app-Abc123XYZ9.js", "font-0a1b2c3d4e5f.woff2", "app.BxY1z2aB.js",
	} {
		if !hasHash(name) {
			t.Errorf("%s is not kept", name)
		}
	}
	for _, name := range []string{
		"index.html", "favicon.ico", "main.js", "app.min.js", "social-facebook.png", "my-background.jpg", "icon-1024x1024.png", "apple-icon-512x512.png",
		"photo-20240101.jpg", "manifest.webmanifest", "a-b.js", "jquery-3.7.1.min.js", "bootstrap.bundle.min.js", "service-worker.js", "robots.txt", "BxY1z2aB",
		"-BxY1z2aB.js", "deadbeef", "LICENSE-Facebook.txt", "x.development.js",
	} {
		if hasHash(name) {
			t.Errorf("%s is kept for a year", name)
		}
	}
}
