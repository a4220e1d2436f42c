package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// expander replaces ${NAME} by an environment variable and ${file:PATH} by a file's content. It works on texts that YAML
// has already parsed, so that no value can change the structure of the file.
type expander struct {
	dir string // relative paths start here
	env func(string) (string, bool)

	files Files // where to note what is read; nil: nowhere
}

// trouble is a fault without its place.
type trouble struct{ problem, remedy string }

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// text returns s with every reference replaced, and whether there was one.
func (e expander) text(s string) (out string, foreign bool, problems []trouble) {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), foreign, problems
		}
		if i > 0 && s[i-1] == '$' { // $${ is a literal ${
			b.WriteString(s[:i-1])
			b.WriteString("${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return b.String(), foreign, append(problems, trouble{"has a ${ without its }", "close it, or write $${ for a literal ${"})
		}
		value, t := e.reference(s[i+2 : i+end])
		if t != nil {
			problems = append(problems, *t)
		}
		foreign = true
		b.WriteString(value)
		s = s[i+end+1:]
	}
}

func (e expander) reference(name string) (string, *trouble) {
	if path, ok := strings.CutPrefix(name, "file:"); ok {
		return e.content(path)
	}
	if !variable.MatchString(name) {
		return "", &trouble{"has a ${…} that is neither ${NAME} nor ${file:PATH}", "name an environment variable or a file, or write $${ for a literal ${"}
	}
	value, ok := e.env(name)
	if !ok {
		return "", &trouble{fmt.Sprintf("the environment variable %s is not set", name), "set it where Cloakroom is started (an empty value counts as set)"}
	}
	return value, nil
}

func (e expander) content(path string) (string, *trouble) {
	if path == "" {
		return "", &trouble{"${file:} names no file", "write ${file:PATH}"}
	}
	full := e.named(path)
	if t := readable(full, path); t != nil {
		return "", t
	}
	raw, err := os.ReadFile(full)
	if err != nil {
		return "", &trouble{fmt.Sprintf("the file %s cannot be read", path), reason(err)}
	}
	// An editor's line end is no part of a secret.
	return strings.TrimRight(string(raw), "\r\n"), nil
}

// named is path for a file that is read, which is noted.
func (e expander) named(path string) string {
	full := e.path(path)
	if e.files != nil {
		e.files[full] = content(full) // before it is read: what changes meanwhile has changed since
	}
	return full
}

func (e expander) path(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(e.dir, path)
}

// readable tells what keeps a file from being read; named is how the configuration calls it.
func readable(full, named string) *trouble {
	info, err := os.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &trouble{fmt.Sprintf("there is no file %s", named), "make it, or correct the path; it was looked for at " + full}
	case err != nil:
		return &trouble{fmt.Sprintf("the file %s cannot be read", named), reason(err)}
	case !info.Mode().IsRegular():
		return &trouble{fmt.Sprintf("%s is not a file", named), "name a regular file"}
	case info.Size() > maxFile:
		return &trouble{fmt.Sprintf("the file %s is over %d KiB", named, maxFile>>10), "name the right one"}
	}
	f, err := os.Open(full)
	if err != nil {
		return &trouble{fmt.Sprintf("the file %s cannot be read", named), reason(err)}
	}
	_ = f.Close()
	return nil
}

// reason is what the system says, as a remedy.
func reason(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "let the user that Cloakroom runs as read it"
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return "the system says: " + err.Error()
}
