package config

import _ "embed"

// Schema is the JSON Schema of the file, for editors. It is made from the types of this package (`go test -run
// TestSchema -update`).
//
//go:embed schema.json
var Schema string

// Example is a commented file that loads, once its files and variables are there.
//
//go:embed example.yaml
var Example string
