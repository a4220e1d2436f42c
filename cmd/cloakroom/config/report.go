package config

import (
	"regexp"
	"strconv"
	"strings"
)

// report gathers what is found in one file, and knows where each of its keys stands.
type report struct {
	file             string
	faults, warnings Faults
	places           map[string]place
}

// place is where a path stands, whether its value is at fault already, and whether it came from a variable or a file.
type place struct {
	line, column    int
	broken, foreign bool
}

// quoted is a value as a fault may show it.
func (r *report) quoted(path, value string) string {
	if r.places[path].foreign {
		return "that ${…} gives"
	}
	return strconv.Quote(value)
}

// fault records one at a position.
func (r *report) fault(line, column int, path, problem, remedy string) {
	r.faults = append(r.faults, Fault{File: r.file, Line: line, Column: column, Path: path, Problem: problem, Remedy: remedy})
	if p, ok := r.places[path]; ok {
		p.broken = true
		r.places[path] = p
	}
}

// given tells whether the file sets the path.
func (r *report) given(path string) bool { _, ok := r.places[path]; return ok }

// broken tells whether the value of the path is at fault already, so that what follows from it says nothing.
func (r *report) broken(path string) bool { return r.places[path].broken }

// at records a fault of a path: where it stands or, when it is missing, where what should hold it does.
func (r *report) at(path, problem, remedy string) {
	if r.broken(path) {
		return
	}
	line, column := r.where(path)
	r.fault(line, column, path, problem, remedy)
}

// warn records what is accepted but should be known.
func (r *report) warn(path, problem, remedy string) {
	line, column := r.where(path)
	r.warnings = append(r.warnings, Fault{File: r.file, Line: line, Column: column, Path: path, Problem: problem, Remedy: remedy})
}

func (r *report) where(path string) (line, column int) {
	for {
		if p, ok := r.places[path]; ok {
			return p.line, p.column
		}
		if path == "" {
			return 1, 1
		}
		path = parent(path)
	}
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// child is the path of a key: a.b, or a["b.c"] where the key would not be read as one.
func child(path, key string) string {
	if !plainKey.MatchString(key) {
		return path + `["` + key + `"]`
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		return path[:max(strings.LastIndex(path, `["`), 0)]
	}
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}
